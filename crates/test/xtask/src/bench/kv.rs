//! Compares our etcd with Debian's. The load generator is a separate program, because it has to be optimised.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cargo_build;
use crate::command::show;
use crate::reference::Reference;

/// Passes `arguments` as flags to `program` (`kv-bench`, `kv-growth`), which prints the rows. Defaults: the server of
/// this checkout, built here, and Debian's, downloaded if the host has none.
pub fn run(root: &Path, program: &str, arguments: &[String]) -> Result<bool> {
    let programs = cargo_build::build(
        root,
        &["--release", "--package", "conformance", "--package", "etcd", "--bin", program, "--bin", "etcd"],
    )
    .context("cannot build server and load")?;
    let mut command = Command::new(cargo_build::named(&programs, program)?);
    command.current_dir(root);
    if !names(arguments, "--ours") {
        command.arg("--ours").arg(cargo_build::named(&programs, "etcd")?);
    }
    if !names(arguments, "--reference") {
        command.arg("--reference").arg(Reference::of_target(root)?.etcd);
    }
    Ok(show(command.args(arguments))?.success)
}

/// Accepts `FLAG VALUE` and `FLAG=VALUE`.
fn names(arguments: &[String], flag: &str) -> bool {
    arguments
        .iter()
        .any(|word| word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_named_in_both_ways() {
        let arguments = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, expect) in [
            ("--ours a", true),
            ("--runs 3 --ours=a", true),
            ("--ours-arguments x", false),
            ("--runs 3", false),
        ] {
            assert_eq!(names(&arguments(line), "--ours"), expect, "{line}");
        }
    }
}
