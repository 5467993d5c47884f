//! Runs a user-data script as a transient unit.

use std::path::Path;

use cloudinit::plan::sha256;
use host::files::{self, DIRECTORY_MODE, Owner, Request};
use host::systemd::{Systemd, SystemdError, TransientUnit};
use host::{FileError, Root};

const MODE: u32 = 0o700;
const NAME_MODE: u32 = 0o644;
const NAME_FILE: &str = "unit-name";
const DESCRIPTION: &str = "Unit generated and executed by coreos-cloudinit on behalf of user";
const FALLBACK: &str = "/bin/bash";
/// Hash digits that identify a script.
const HASH_DIGITS: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
}

/// A script written to disk.
pub struct StoredScript {
    pub path: String,
    pub unit: String,
    has_interpreter: bool,
}

/// Scripts that run in order.
pub struct Chain<'a> {
    /// `None` for the first.
    pub after: Option<&'a StoredScript>,
}

/// Writes the script and removes those of previous runs; `earlier` are the scripts of this run.
pub fn store(
    root: &Root,
    workspace: &str,
    content: &[u8],
    earlier: &[StoredScript],
) -> Result<StoredScript, ScriptError> {
    let folder = format!("{}/scripts", workspace.trim_end_matches('/'));
    let name = sha256(content)[..HASH_DIGITS].to_owned();
    // Two parts may contain the same script.
    let number = match earlier.len() {
        0 => String::new(),
        count => format!("-{}", count + 1),
    };
    let unit = format!("coreos-cloudinit-{name}-{}{number}.service", std::process::id());
    let old = if earlier.is_empty() { files::list(root, &folder)? } else { Vec::new() };
    for old in old.into_iter().filter(|old| *old != name && *old != NAME_FILE) {
        files::remove(root, &format!("{folder}/{old}"))?;
    }
    let path = format!("{folder}/{name}");
    let write = |path: &str, mode, content| {
        let owner = Owner::default();
        files::write(root, &Request { path, mode, owner, content, directory_mode: DIRECTORY_MODE })
    };
    write(&path, MODE, content)?;
    let units: Vec<_> = earlier.iter().map(|stored| &*stored.unit).chain([&*unit]).collect();
    write(&format!("{folder}/{NAME_FILE}"), NAME_MODE, units.join("\n").as_bytes())?;
    let has_interpreter = interpreter(content).is_some_and(|path| root.host_path(path).exists());
    Ok(StoredScript { path, unit, has_interpreter })
}

/// Does not wait for the script.
pub fn start(
    root: &Root,
    stored: &StoredScript,
    chain: Option<Chain<'_>>,
    systemd: &Systemd,
) -> Result<(), ScriptError> {
    let path = root.host_path(&stored.path);
    let path = path.to_string_lossy();
    let direct = [&*path];
    let via_shell = [FALLBACK, &*path];
    let argv: &[&str] = if stored.has_interpreter { &direct } else { &via_shell };
    Ok(systemd.start_transient(&TransientUnit {
        unit: &stored.unit,
        description: DESCRIPTION,
        argv,
        one_shot: chain.is_some(),
        after: chain.and_then(|chain| chain.after).map(|earlier| &*earlier.unit),
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
    fn removes_scripts_of_earlier_runs() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let first = store(&root, "/w", b"#!/bin/sh\n", &[]).unwrap();
        assert!(!first.has_interpreter);
        let second = store(&root, "/w", b"#!/bin/sh\necho\n", &[]).unwrap();
        assert!(!root.host_path(&first.path).exists());
        assert!(root.host_path(&second.path).exists());
        assert_eq!(std::fs::read_to_string(root.host_path("/w/scripts/unit-name")).unwrap(), second.unit);
    }

    #[test]
    fn parses_shebang() {
        for (text, expect) in [
            ("#!/bin/sh\nx", Some("/bin/sh")),
            ("#! /usr/bin/env python3", Some("/usr/bin/env")),
            ("#!sh", None),
        ] {
            assert_eq!(interpreter(text.as_bytes()), expect);
        }
    }
}
