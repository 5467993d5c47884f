//! `cargo fix-all`: applies automatic fixes.

use crate::command::{cargo, show};
use crate::workspace;

/// Clippy first: its changes still have to be formatted.
const STEPS: [&[&str]; 2] = [
    &["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"],
    &["fmt", "--all"],
];

/// Returns whether both tools succeeded.
pub fn run() -> anyhow::Result<bool> {
    let root = workspace::root();
    for arguments in STEPS {
        if !show(&mut cargo(&root, arguments))?.success {
            eprintln!(
                "\n`cargo {}` failed: mend what it names, then `cargo fix-all` again",
                arguments.join(" ")
            );
            return Ok(false);
        }
    }
    eprintln!("\nwritten; next: `git diff`, then `cargo verify`");
    Ok(true)
}
