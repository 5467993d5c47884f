//! Builds `keelson` and the node's programs, for checks that run them outside of this checkout.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::{cargo_build, node_programs};

/// Names the folder of the node's programs to `keelson`, which otherwise has cargo compile them.
const PROGRAMS: &str = "KEELSON_PROGRAMS";

/// Builds the program.
pub fn build(root: &Path) -> Result<PathBuf> {
    let mut arguments = vec!["--workspace".to_owned(), "--bin".to_owned(), "keelson".to_owned()];
    for program in node_programs::read(root)? {
        arguments.extend(["--bin".to_owned(), program.binary]);
    }
    // Selects the whole workspace and an example, so that cargo uses the features of the tests: others would
    // recompile everything.
    arguments.extend(["--example".to_owned(), "local".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let built = cargo_build::build(root, &arguments)?;
    cargo_build::named(&built, "keelson").map(Path::to_path_buf)
}

/// Builds the program once per process: later calls do not wait for cargo's lock.
pub fn build_once(root: &Path) -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.is_none() {
        *built = Some(build(root)?);
    }
    built.clone().context("keelson was not built")
}

/// Returns a command for the program that uses the node's programs next to it.
pub fn command(root: &Path) -> Result<Command> {
    let program = build_once(root)?;
    let mut command = Command::new(&program);
    command.env(PROGRAMS, program.parent().unwrap_or(root)).current_dir(root);
    Ok(command)
}
