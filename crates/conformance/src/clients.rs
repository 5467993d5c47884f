//! Clients that others wrote, from the registries, against one member.
//!
//! Each is pinned with its hashes and built into a folder of the caller's; a client that can not be fetched is an
//! error, not a client that agreed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// python-etcd 0.4.5 in a virtual environment below `folder`.
pub fn python(folder: &Path, member: SocketAddr) -> Result<(), Failure> {
    let (environment, sources) = (folder.join("python"), sources().join("python"));
    if !environment.join("ready").exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let pip = |list: &str| {
            let mut command = Command::new(environment.join("bin/pip"));
            // What builds a package must be pinned as well, so pip may not fetch it by itself.
            let words = [
                "install",
                "--quiet",
                "--require-hashes",
                "--no-deps",
                "--no-build-isolation",
                "--requirement",
            ];
            command.args(words).arg(sources.join(list));
            command
        };
        succeed(&mut pip("build.txt"))?;
        succeed(&mut pip("requirements.txt"))?;
        std::fs::write(environment.join("ready"), "").map_err(Failure::io("mark the environment"))?;
    }
    let mut client = Command::new(environment.join("bin/python"));
    client.arg(sources.join("main.py")).arg(member.ip().to_string()).arg(member.port().to_string());
    succeed(&mut client)
}

/// The crate etcd 0.9.0, built below `folder` with its own lock file.
pub fn rust(folder: &Path, member: SocketAddr) -> Result<(), Failure> {
    let manifest = sources().join("rust/Cargo.toml");
    let mut client = Command::new("cargo");
    client.args(["run", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    client.env("CARGO_TARGET_DIR", folder.join("rust")).arg("--").arg(format!("http://{member}"));
    succeed(&mut client)
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let ended = command.output().map_err(Failure::io(format!("run {command:?}")))?;
    if ended.status.success() {
        return Ok(());
    }
    let (out, error) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    Err(Failure::differs(format!("{command:?} ended with {}: {out}{error}", ended.status)))
}
