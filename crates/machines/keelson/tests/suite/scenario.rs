//! Runs one scenario on nspawn nodes, for mutants that only booted machines detect.

use std::process::Command;

/// Environment variable with the scenario's name.
const SCENARIO: &str = "KEELSON_SCENARIO";
/// Parent of the state folder; `/tmp` may be a tmpfs.
const STATE_PARENT: &str = "/var/tmp";

#[test]
#[ignore = "boots machines with the programs of a mutant: cargo verify mutants"]
fn passes() {
    let scenario = std::env::var(SCENARIO).unwrap_or_else(|_| panic!("{SCENARIO} names a scenario"));
    let state = tempfile::tempdir_in(STATE_PARENT).unwrap();
    let mut test = Command::new(env!("CARGO_BIN_EXE_keelson"));
    test.arg("--state-dir").arg(state.path()).args(["test", &scenario, "--on", "nspawn"]);
    let output = test.output().unwrap();
    let printed =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("1 passed, 0 failed, 0 skipped"), "{printed}");
}
