//! Runs the commands of a check visibly: prints each command line and passes its output through.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

use crate::interrupt;

/// Variables that would make a test rewrite its golden files.
const REWRITING: [&str; 4] = ["UPDATE_GOLDEN", "UPDATE_EXPECT", "INSTA_UPDATE", "BLESS"];

/// Exit status of a child, and its stdout if requested.
pub struct Ended {
    pub success: bool,
    pub code: Option<i32>,
    pub stdout: String,
}

/// Variables that the outer cargo sets for this program. Build scripts (ring's) rerun when they change, and all
/// their dependents would be recompiled.
const OF_OUTER_CARGO: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// `cargo` with these arguments in `root`, unable to rewrite golden files.
pub fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root);
    for name in REWRITING {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if OF_OUTER_CARGO.iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo's target folder of the checkout at `root`.
pub fn target_folder(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// `cargo test` for the ignored tests of `targets` (`--test NAME`), as they were compiled for all tests.
///
/// Selects the whole workspace: for a single package cargo resolves other features of its dependencies, and
/// recompiles them.
pub fn ignored_tests(root: &Path, targets: &[&str]) -> Command {
    let mut command = cargo(root, &["test", "--locked", "--workspace"]);
    command.args(targets).args(["--", "--ignored"]);
    command
}

/// Prints the command line and runs it with inherited output.
pub fn show(command: &mut Command) -> anyhow::Result<Ended> {
    announce(command);
    finish(command)
}

/// As [`show`], but captures stdout.
pub fn show_and_read(command: &mut Command) -> anyhow::Result<Ended> {
    announce(command);
    finish(command.stdout(Stdio::piped()))
}

/// Returns an error if the child failed.
pub fn require_success(ended: Ended) -> anyhow::Result<Ended> {
    match ended.code {
        _ if ended.success => Ok(ended),
        Some(code) => bail!("exit code {code}"),
        None => bail!("ended by a signal"),
    }
}

/// Whether a cargo plug-in (`nextest`, `deny`) is installed.
pub fn has_cargo_plugin(root: &Path, name: &str) -> bool {
    cargo(root, &[name, "--version"]).output().is_ok_and(|output| output.status.success())
}

/// Prints a command line.
pub fn announce(command: &Command) {
    let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    eprintln!("$ {program} {}", arguments.join(" "));
}

fn finish(command: &mut Command) -> anyhow::Result<Ended> {
    if interrupt::received() {
        bail!("interrupted");
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let running = interrupt::RunningChild::new(child.id());
    let output = child.wait_with_output();
    drop(running);
    let output = output.with_context(|| format!("cannot wait for {name}"))?;
    Ok(ended(output.status, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Builds an [`Ended`] of a child with this captured stdout.
pub fn ended(status: ExitStatus, stdout: String) -> Ended {
    Ended { success: status.success(), code: status.code(), stdout }
}
