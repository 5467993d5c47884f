//! `coreos-setup-environment FILE`: the node's address for units, as `COREOS_PRIVATE_IPV4` and
//! `COREOS_PUBLIC_IPV4` (cloud-config.md 2.9).
//!
//! It runs before user-data is read, so it must never fail the boot for a network that does not come: then it
//! says so and writes nothing. Lines that are not its own stay.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::address::{self, Network};
use crate::replace::replace;
use crate::root::Root;

/// Sorted by name: so are new lines added.
const KEYS: [&str; 2] = ["COREOS_PRIVATE_IPV4", "COREOS_PUBLIC_IPV4"];
const NEW_MODE: u32 = 0o644;

/// Writes this node's address to FILE, for units that read it as environment.
#[derive(Parser)]
#[command(
    name = "coreos-setup-environment",
    after_help = "Example:\n  coreos-setup-environment /etc/environment"
)]
struct Flags {
    /// The file whose lines are merged
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Seconds to wait for an address
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    #[arg(long, hide = true, default_value = "/")]
    root: Root,
}

pub fn run(words: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(words);
    let limit = Duration::from_secs(flags.timeout);
    let settled = address::wait(limit, || Network::observe(&flags.root).settled())
        .context("can not follow the changes of the network")?;
    let Some(found) = settled.or_else(|| Network::observe(&flags.root).best()) else {
        eprintln!(
            "no address after {} s: neither a LAN nor a default route; nothing is written",
            flags.timeout
        );
        return Ok(ExitCode::SUCCESS);
    };
    let path = flags.root.at(&flags.file);
    let address = found.address.to_string();
    let changed =
        write(&path, &address).with_context(|| format!("can not write {}", flags.file.display()))?;
    let deed = if changed { "written to" } else { "already in" };
    eprintln!("{address} of {} ({}) {deed} {}", found.interface, found.by, flags.file.display());
    Ok(ExitCode::SUCCESS)
}

/// False when the file says it already.
fn write(path: &Path, address: &str) -> io::Result<bool> {
    let (before, mode) = match fs::read(path) {
        Ok(bytes) => (bytes, fs::metadata(path)?.permissions().mode() & 0o7777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), NEW_MODE),
        Err(error) => return Err(error),
    };
    let before = String::from_utf8(before).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("it is no UTF-8 text: {error}"))
    })?;
    let after = merge(&before, address);
    if after == before {
        return Ok(false);
    }
    replace(path, after.as_bytes(), mode)?;
    Ok(true)
}

/// `text` with each key's first line replaced, and missing ones added at the end.
fn merge(text: &str, address: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for key in KEYS {
        let line = format!("{key}={address}");
        let place = lines.iter().position(|old| old.split_once('=').is_some_and(|(name, _)| name == key));
        match place {
            Some(index) => lines[index] = line,
            None => lines.push(line),
        }
    }
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str) {
        assert_eq!(merge(before, "10.77.0.11"), after);
        assert_eq!(merge(after, "10.77.0.11"), after, "a second run changes nothing");
    }

    #[test]
    fn lines_are_merged() {
        let both = "COREOS_PRIVATE_IPV4=10.77.0.11\nCOREOS_PUBLIC_IPV4=10.77.0.11\n";
        check("", both);
        check("PATH=/bin\r\n# note", &format!("PATH=/bin\n# note\n{both}"));
        check(
            "COREOS_PUBLIC_IPV4=1.2.3.4\nA=b\nCOREOS_PUBLIC_IPV4=5.6.7.8\nCOREOS_PRIVATE_IPV6=::1\n",
            "COREOS_PUBLIC_IPV4=10.77.0.11\nA=b\nCOREOS_PUBLIC_IPV4=5.6.7.8\nCOREOS_PRIVATE_IPV6=::1\n\
             COREOS_PRIVATE_IPV4=10.77.0.11\n",
        );
    }

    #[test]
    fn mode_is_kept_and_an_unchanged_file_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        assert!(write(&path, "10.0.0.1").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, NEW_MODE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!write(&path, "10.0.0.1").unwrap());
        assert!(write(&path, "10.0.0.2").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("environment");
        fs::write(&path, b"A=\xff\n").unwrap();
        assert!(write(&path, "10.0.0.1").unwrap_err().to_string().starts_with("it is no UTF-8 text"));
        assert_eq!(fs::read(&path).unwrap(), b"A=\xff\n");
    }
}
