//! Whole machines, where an image is there: `KEELSON_IMAGE=DIR cargo test -p keelson -- --ignored`.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;

/// Runs one scenario by the command line; a skipped one is no success.
fn scenario(name: &str, backend: &str) {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let image = std::env::var_os("KEELSON_IMAGE").expect("KEELSON_IMAGE names the image to boot");
    let output = Command::new(env!("CARGO_BIN_EXE_keelson"))
        .args(["test", name, "--on", backend, "--json", "--quiet", "--image"])
        .arg(image)
        .arg("--state-dir")
        .arg(folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_default();
    assert_eq!(report["passed"], 1, "{stdout}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "boots a machine: needs KEELSON_IMAGE and root"]
fn boots_on_nspawn() {
    scenario("boots", "nspawn");
}

#[test]
#[ignore = "boots a machine: needs KEELSON_IMAGE"]
fn boots_on_qemu() {
    scenario("boots", "qemu");
}
