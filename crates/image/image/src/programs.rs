//! The programs of this repository that are part of the image: `os/programs.toml`, built by cargo.
//!
//! Release builds must not depend on the checkout's path, so paths are remapped.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

/// Environment variable with a folder of programs for quick images. `cargo verify` uses it to avoid another
/// compilation with other features.
pub const PROGRAMS_VARIABLE: &str = "KEELSON_PROGRAMS";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Cargo profile `node`: optimized and reproducible in any checkout. Used for releases.
    #[default]
    Node,
    /// Cargo profile `dev`, in the target folder of `cargo keelson` and the tests, so that compiled crates are
    /// shared.
    Quick,
}

impl Profile {
    /// Name in command lines, `os-release` and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Quick => "quick",
        }
    }

    /// Name of the cargo profile.
    fn cargo_profile(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Quick => "dev",
        }
    }

    /// Folder of the cargo profile in the target folder.
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
        known.ok_or_else(|| format!("unknown profile `{name}` (expected node or quick)"))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub package: String,
    pub binary: String,
    /// Path in the image, relative to its root.
    pub path: String,
    /// Symbolic links to the file.
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
    #[error("{path} is not a list of programs")]
    Syntax { path: PathBuf, source: Box<toml::de::Error> },
    #[error("cannot run cargo")]
    Cargo(#[source] io::Error),
    #[error("cargo cannot build the node's programs:\n{0}")]
    Build(String),
}

pub fn read(path: &Path) -> Result<Vec<Program>, ProgramsError> {
    let text =
        fs::read_to_string(path).map_err(|source| ProgramsError::Read { path: path.into(), source })?;
    let list: Programs = toml::from_str(&text)
        .map_err(|source| ProgramsError::Syntax { path: path.into(), source: Box::new(source) })?;
    Ok(list.program)
}

/// Builds the programs and returns their folder. `progress` gets cargo's output. If `stop` is set, cargo is killed at
/// its next line.
pub fn build(
    programs: &[Program],
    checkout: &Path,
    profile: Profile,
    stop: &AtomicBool,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, ProgramsError> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout.join("target"), PathBuf::from);
    let folder = target.join(profile.folder());
    if programs.is_empty() {
        return Ok(folder);
    }
    if let Some(compiled) = env::var_os(PROGRAMS_VARIABLE).filter(|_| profile == Profile::Quick) {
        return Ok(checkout.join(compiled));
    }
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(checkout)
        .args(["build", "--locked", "--profile", profile.cargo_profile(), "--target-dir"])
        .arg(&target);
    for program in programs {
        command.args(["--package", &program.package]);
    }
    // Different flags would prevent a quick build from sharing compiled crates.
    if profile == Profile::Node {
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", remap_flags(checkout).join("\x1f"));
    }
    // If cargo runs keelson itself, these variables would make build scripts run again.
    for (name, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
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
            progress(line.trim());
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

fn remap_flags(checkout: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![format!("--remap-path-prefix={}=/keelson", checkout.display())];
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    flags
}

/// Paths in the image, and the corresponding files in `built`.
pub fn installed<'a>(programs: &'a [Program], built: &Path) -> Vec<(&'a str, PathBuf)> {
    programs.iter().map(|program| (program.path.as_str(), built.join(&program.binary))).collect()
}
