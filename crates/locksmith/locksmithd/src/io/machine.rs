//! Identity and state folder of this machine.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

const RELEASE: &str = "/usr/share/coreos/release";

/// The ID under which the machine holds the lock.
pub fn id() -> anyhow::Result<String> {
    match std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim() {
        "" => bail!("Cannot read machine-id"),
        id => Ok(id.to_owned()),
    }
}

/// Changes with each boot.
pub fn boot_id() -> anyhow::Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(text.trim().to_owned())
}

/// The OS version; empty if unknown.
pub fn version() -> String {
    let text = std::fs::read_to_string(RELEASE).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("COREOS_RELEASE_VERSION="));
    value.unwrap_or_default().trim().to_owned()
}

/// In whole seconds, for readability.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Persistent state. systemd may list several folders; the first is ours.
pub fn state_folder() -> PathBuf {
    let folders = std::env::var("STATE_DIRECTORY").unwrap_or_default();
    folders.split(':').next().filter(|path| !path.is_empty()).unwrap_or("/var/lib/locksmith").into()
}
