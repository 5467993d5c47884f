//! Runs user-data that is a script, as a unit of its own.

use std::path::Path;

use cloudinit::plan::sha256;
use host::files::{self, DIRECTORY_MODE, Owner, Request};
use host::systemd::{Systemd, SystemdError, Transient};
use host::{FileError, Root};

const MODE: u32 = 0o700;
const NAME_MODE: u32 = 0o644;
const NAME_FILE: &str = "unit-name";
const DESCRIPTION: &str = "Unit generated and executed by coreos-cloudinit on behalf of user";
const FALLBACK: &str = "/bin/bash";
/// Digits of the hash that tell scripts apart.
const HASH_DIGITS: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

/// A script that stands on the disk.
pub struct Stored {
    pub path: String,
    pub unit: String,
    interpreter_is_there: bool,
}

/// Scripts that run one after the other.
pub struct Chain<'a> {
    /// `None` for the first.
    pub after: Option<&'a Stored>,
}

/// Writes the script and removes those of earlier runs; `before` are those of this run.
pub fn store(root: &Root, workspace: &str, content: &[u8], before: &[Stored]) -> Result<Stored, ScriptError> {
    let folder = format!("{}/scripts", workspace.trim_end_matches('/'));
    let name = sha256(content)[..HASH_DIGITS].to_owned();
    // The same script may stand in two parts.
    let number = match before.len() {
        0 => String::new(),
        count => format!("-{}", count + 1),
    };
    let unit = format!("coreos-cloudinit-{name}-{}{number}.service", std::process::id());
    let old = if before.is_empty() { files::list(root, &folder)? } else { Vec::new() };
    for old in old.into_iter().filter(|old| *old != name && *old != NAME_FILE) {
        files::remove(root, &format!("{folder}/{old}"))?;
    }
    let path = format!("{folder}/{name}");
    let write = |path: &str, mode, content| {
        let owner = Owner::default();
        files::write(root, &Request { path, mode, owner, content, directory_mode: DIRECTORY_MODE })
    };
    write(&path, MODE, content)?;
    let units: Vec<_> = before.iter().map(|stored| &*stored.unit).chain([&*unit]).collect();
    write(&format!("{folder}/{NAME_FILE}"), NAME_MODE, units.join("\n").as_bytes())?;
    let interpreter_is_there = interpreter(content).is_some_and(|path| root.host_path(path).exists());
    Ok(Stored { path, unit, interpreter_is_there })
}

/// Starts the script and does not wait for it.
pub fn start(
    root: &Root,
    stored: &Stored,
    chain: Option<Chain<'_>>,
    systemd: &Systemd,
) -> Result<(), ScriptError> {
    let path = root.host_path(&stored.path);
    let path = path.to_string_lossy();
    let direct = [&*path];
    let by_shell = [FALLBACK, &*path];
    let argv: &[&str] = if stored.interpreter_is_there { &direct } else { &by_shell };
    Ok(systemd.start_transient(&Transient {
        unit: &stored.unit,
        description: DESCRIPTION,
        argv,
        one_shot: chain.is_some(),
        after: chain.and_then(|chain| chain.after).map(|before| &*before.unit),
    })?)
}

fn interpreter(content: &[u8]) -> Option<&str> {
    let line = content.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.strip_prefix("#!")?;
    line.split_whitespace().next().filter(|path| Path::new(path).is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_scripts_go() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let first = store(&root, "/w", b"#!/bin/sh\n", &[]).unwrap();
        assert!(!first.interpreter_is_there);
        let second = store(&root, "/w", b"#!/bin/sh\necho\n", &[]).unwrap();
        assert!(!root.host_path(&first.path).exists());
        assert!(root.host_path(&second.path).exists());
        assert_eq!(std::fs::read_to_string(root.host_path("/w/scripts/unit-name")).unwrap(), second.unit);
    }

    #[test]
    fn interpreters() {
        for (text, expect) in [
            ("#!/bin/sh\nx", Some("/bin/sh")),
            ("#! /usr/bin/env python3", Some("/usr/bin/env")),
            ("#!sh", None),
        ] {
            assert_eq!(interpreter(text.as_bytes()), expect);
        }
    }
}
