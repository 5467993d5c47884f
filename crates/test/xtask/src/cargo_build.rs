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

/// Builds `targets` (`--bin NAME`, `--bins`) of the whole workspace with the features of its tests, and returns the
/// programs.
///
/// An example is built too: only with one does cargo enable the features of dev-dependencies. Without them it would
/// recompile much, and replace the programs in the target folder, which scenarios boot, by others.
pub fn build_with_features_of_tests(root: &Path, targets: &[&str]) -> Result<Vec<PathBuf>> {
    build(root, &[&["--workspace", "--example", "local"], targets].concat())
}

/// A program that cargo compiled tests into.
#[derive(Debug, Clone)]
pub struct TestProgram {
    /// The package's.
    pub folder: PathBuf,
    /// `lib`, `bin` or `test`.
    pub kind: String,
    pub name: String,
    pub executable: PathBuf,
}

/// A line of `cargo test --no-run --message-format json`.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: ArtifactTarget,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    kind: Vec<String>,
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Compiles all test programs of the workspace, and returns them.
pub fn test_programs(root: &Path) -> Result<Vec<TestProgram>> {
    let mut command =
        cargo(root, &["test", "--locked", "--quiet", "--workspace", "--lib", "--bins", "--tests"]);
    let built = show_and_read(command.args(["--no-run", "--message-format=json-render-diagnostics"]))?;
    if !built.success {
        bail!("cargo test --no-run did not succeed");
    }
    Ok(test_artifacts(&built.stdout))
}

fn test_artifacts(messages: &str) -> Vec<TestProgram> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let program = |artifact: Artifact| {
        Some(TestProgram {
            folder: artifact.manifest_path.parent()?.to_path_buf(),
            kind: artifact.target.kind.into_iter().next()?,
            name: artifact.target.name,
            executable: artifact.executable.filter(|_| artifact.profile.test)?,
        })
    };
    parsed.filter_map(program).collect()
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

    #[test]
    fn test_programs_are_not_the_programs_themselves() {
        let line = |test: bool, executable: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"/w/crates/a/b/Cargo.toml\",\"target\":\
                 {{\"kind\":[\"bin\"],\"name\":\"b\"}},\"profile\":{{\"test\":{test}}},\"executable\":{executable}}}\n"
            )
        };
        let messages = [line(false, "\"/t/b\""), line(true, "\"/t/deps/b-1\""), line(true, "null")].concat();
        let [program] = test_artifacts(&messages).try_into().unwrap();
        assert_eq!((program.folder, program.executable), ("/w/crates/a/b".into(), "/t/deps/b-1".into()));
        assert_eq!((&*program.kind, &*program.name), ("bin", "b"));
    }
}
