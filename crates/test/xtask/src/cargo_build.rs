//! Builds programs and returns their paths, for checks that run them outside of this checkout.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::command::{cargo, show_and_read};

/// A line of `cargo build --message-format json`; only fields that name a program.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Runs `cargo build` with these arguments and returns the programs. `cargo run` would set `CARGO` and must run in
/// the checkout.
pub fn build(root: &Path, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    build_with(root, arguments, &[])
}

/// The same with environment variables for cargo.
pub fn build_with(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<PathBuf>> {
    let mut command = cargo(root, &["build", "--locked", "--quiet"]);
    command.envs(variables.iter().copied());
    let built = show_and_read(command.args(arguments).arg("--message-format=json-render-diagnostics"))?;
    if !built.success {
        bail!("cargo build {} did not succeed", arguments.join(" "));
    }
    Ok(executables(&built.stdout))
}

/// Returns the program of that name.
pub fn named<'a>(programs: &'a [PathBuf], name: &str) -> Result<&'a Path> {
    match programs.iter().rfind(|path| path.file_name().is_some_and(|last| last == name)) {
        Some(path) => Ok(path),
        None => bail!("cargo names no program {name}"),
    }
}

fn executables(messages: &str) -> Vec<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    parsed.filter_map(|message| message.executable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_among_those_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/tool/keelson\"}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/debug/examples/local\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        let programs = executables(messages);
        assert_eq!(named(&programs, "keelson").unwrap(), Path::new("/t/tool/keelson"));
        assert_eq!(named(&programs, "local").unwrap(), Path::new("/t/debug/examples/local"));
        assert_eq!(named(&programs, "etcd").unwrap_err().to_string(), "cargo names no program etcd");
        assert!(executables("").is_empty());
    }
}
