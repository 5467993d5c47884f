//! One scenario on nspawn nodes: the kept mutants of what only booted machines show are run by it.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// The scenario's name.
const SCENARIO: &str = "KEELSON_SCENARIO";
/// Where there is room for machines; `/tmp` may be memory.
const ROOM: &str = "/var/tmp";

#[test]
#[ignore = "boots machines with the programs of a mutant: cargo verify mutants"]
fn passes() {
    let scenario = std::env::var(SCENARIO).unwrap_or_else(|_| panic!("{SCENARIO} names a scenario"));
    let state = tempfile::tempdir_in(ROOM).unwrap();
    let mut test = Command::new(env!("CARGO_BIN_EXE_keelson"));
    test.arg("--state-dir").arg(state.path()).args(["test", &scenario, "--on", "nspawn"]);
    let output = test.output().unwrap();
    let shown =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("1 passed, 0 failed, 0 skipped"), "{shown}");
}
