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
    let programs = node_programs::read(root)?;
    let binaries = programs.iter().map(|program| program.binary.as_str()).chain(["keelson"]);
    let targets: Vec<&str> = binaries.flat_map(|binary| ["--bin", binary]).collect();
    let built = cargo_build::build_with_features_of_tests(root, &targets)?;
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
