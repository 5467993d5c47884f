//! The programs of this repository that go into the image: `os/programs.toml`, built by cargo.
//!
//! The bytes of what is shipped must not depend on where the checkout lies: paths are mapped away.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

/// Names a folder with the compiled programs of a quick image: whoever compiled them with other programs, as
/// `cargo verify` does with its tests, need not have cargo compile them with other features once more.
pub const COMPILED: &str = "KEELSON_PROGRAMS";

/// How the programs are compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Cargo's profile `node`: optimized, and the same bytes wherever the checkout is. What is shipped.
    #[default]
    Node,
    /// Cargo's profile `dev`, in the same target folder as `cargo keelson` and the tests, which share what is compiled.
    Quick,
}

impl Profile {
    /// As command lines, `os-release` and records have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Quick => "quick",
        }
    }

    /// Cargo's name of the profile.
    fn of_cargo(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Quick => "dev",
        }
    }

    /// Cargo's folder of the profile, in the target folder.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Quick => "debug",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = [Self::Node, Self::Quick].into_iter().find(|profile| profile.name() == name);
        known.ok_or_else(|| format!("`{name}` is no profile; there are node and quick"))
    }
}

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

/// Builds them and returns their folder. `told` gets cargo's lines. Once `stop` is set cargo is killed at its next line.
pub fn build(
    programs: &[Program],
    checkout: &Path,
    profile: Profile,
    stop: &AtomicBool,
    told: &dyn Fn(&str),
) -> Result<PathBuf, ProgramsError> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
    let folder = target.join(profile.folder());
    if programs.is_empty() {
        return Ok(folder);
    }
    if let Some(compiled) = env::var_os(COMPILED).filter(|_| profile == Profile::Quick) {
        return Ok(checkout.join(compiled));
    }
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(checkout)
        .args(["build", "--locked", "--profile", profile.of_cargo(), "--target-dir"])
        .arg(&target);
    for program in programs {
        command.args(["--package", &program.package]);
    }
    // With flags of its own a quick build would share nothing.
    if profile == Profile::Node {
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", mapped_paths(checkout).join("\x1f"));
    }
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
            if stop.load(Ordering::Relaxed) {
                child.kill().map_err(ProgramsError::Cargo)?;
            }
            told(line.trim());
            log.push(line);
        }
    }
    if child.wait().map_err(ProgramsError::Cargo)?.success() {
        Ok(folder)
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

/// Paths in the image, and the files in `built` that go there.
pub fn installed<'a>(programs: &'a [Program], built: &Path) -> Vec<(&'a str, PathBuf)> {
    programs.iter().map(|program| (program.path.as_str(), built.join(&program.binary))).collect()
}
