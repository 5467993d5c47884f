//! Third-party clients from their registries, against one member.
//!
//! Each is pinned by hashes and built in a folder of the caller. A client that cannot be downloaded is an error,
//! never a pass.

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
        fetch(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        let pip = |list: &str| {
            let mut command = Command::new(environment.join("bin/pip"));
            // Build dependencies must be pinned as well, so pip may not download them implicitly.
            let arguments = [
                "install",
                "--quiet",
                "--require-hashes",
                "--no-deps",
                "--no-build-isolation",
                "--requirement",
            ];
            command.args(arguments).arg(sources.join(list));
            command
        };
        fetch(&mut pip("build.txt"))?;
        fetch(&mut pip("requirements.txt"))?;
        std::fs::write(environment.join("ready"), "").map_err(Failure::io("mark the environment"))?;
    }
    let mut client = Command::new(environment.join("bin/python"));
    client.arg(sources.join("main.py")).arg(member.ip().to_string()).arg(member.port().to_string());
    succeed(&mut client)
}

/// The crate etcd 0.9.0, built below `folder` with its lock file.
pub fn rust(folder: &Path, member: SocketAddr) -> Result<(), Failure> {
    let manifest = sources().join("rust/Cargo.toml");
    let cargo = |verb: &str| {
        let mut command = Command::new("cargo");
        command.args([verb, "--quiet", "--locked", "--manifest-path"]).arg(&manifest);
        command.env("CARGO_TARGET_DIR", folder.join("rust"));
        command
    };
    fetch(&mut cargo("fetch"))?;
    succeed(cargo("run").arg("--").arg(format!("http://{member}")))
}

/// Fails as not fetched, except for a hash mismatch: that is never a mere absence.
fn fetch(command: &mut Command) -> Result<(), Failure> {
    match output(command)? {
        Ok(()) => Ok(()),
        Err(text) if text.contains("DO NOT MATCH THE HASHES") || text.contains("checksum") => {
            Err(Failure::differs(text))
        }
        Err(text) => Err(Failure::NotFetched(text)),
    }
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    output(command)?.map_err(Failure::Differs)
}

/// The output of a command that failed.
fn output(command: &mut Command) -> Result<Result<(), String>, Failure> {
    let ended = match command.output() {
        Ok(ended) => ended,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Err(format!("no {} here", command.get_program().display())));
        }
        Err(error) => return Err(Failure::io(format!("run {command:?}"))(error)),
    };
    if ended.status.success() {
        return Ok(Ok(()));
    }
    let (out, error) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    Ok(Err(format!("{command:?} ended with {}: {}{}", ended.status, out.trim(), error.trim())))
}
