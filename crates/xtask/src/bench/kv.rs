//! The key-value server against Debian's etcd. The load is a program of its own, because it has to be optimised.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, show, succeed};

/// `words` are the flags of `program` (`kv-bench`, `kv-growth`); it prints the rows itself.
pub fn run(root: &Path, program: &str, words: &[String]) -> Result<bool> {
    let build = ["build", "--locked", "--quiet", "--release", "--package", "conformance", "--bin", program];
    succeed(show(&mut cargo(root, &build))?).context("can not build the load")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = root.join(target).join("release").join(program);
    let ended = show(Command::new(program).current_dir(root).args(words))?;
    Ok(ended.success)
}
