//! The programs of this repository that go into the image: `os/programs.toml`, built by cargo.
//!
//! Their bytes must not depend on where the checkout lies: paths are mapped away.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Cargo's profile for them, see the top `Cargo.toml`.
const PROFILE: &str = "node";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub package: String,
    pub binary: String,
    /// In the image, relative to its root.
    pub path: String,
    /// Further names of the same file.
    #[serde(default)]
    pub links: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Programs {
    #[serde(default)]
    program: Vec<Program>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} does not list programs")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("cannot run cargo")]
    Cargo(#[source] io::Error),
    #[error("cargo could not build the node's programs:\n{0}")]
    Build(String),
}

pub fn read(path: &Path) -> Result<Vec<Program>, ProgramsError> {
    let text =
        fs::read_to_string(path).map_err(|source| ProgramsError::Read { path: path.into(), source })?;
    let list: Programs = toml::from_str(&text)
        .map_err(|source| ProgramsError::Syntax { path: path.into(), source: Box::new(source) })?;
    Ok(list.program)
}

/// Builds them and returns the folder in which they lie. `told` gets cargo's lines.
pub fn build(programs: &[Program], checkout: &Path, told: &dyn Fn(&str)) -> Result<PathBuf, ProgramsError> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
    if programs.is_empty() {
        return Ok(target.join(PROFILE));
    }
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(checkout)
        .args(["build", "--locked", "--profile", PROFILE, "--target-dir"])
        .arg(&target);
    for program in programs {
        command.args(["--package", &program.package]);
    }
    command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", mapped_paths(checkout).join("\x1f"));
    // Where keelson itself was run by cargo: build scripts ask to run again when these change.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            command.env_remove(name);
        }
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ProgramsError::Cargo)?;
    let mut log = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        use std::io::BufRead as _;
        for line in io::BufReader::new(stderr).lines() {
            let line = line.map_err(ProgramsError::Cargo)?;
            told(line.trim());
            log.push(line);
        }
    }
    if child.wait().map_err(ProgramsError::Cargo)?.success() {
        Ok(target.join(PROFILE))
    } else {
        let errors = log.len().saturating_sub(30);
        Err(ProgramsError::Build(log[errors..].join("\n")))
    }
}

fn mapped_paths(checkout: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=/keelson", checkout.display())];
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}
