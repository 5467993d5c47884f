//! The hostname: set through hostnamed if it is running, so that its subscribers are notified, and directly
//! otherwise. Starting hostnamed would take longer than the rest of a first boot's config; it reads the file
//! and the kernel's name when it starts.

use std::io;

use nix::unistd::{gethostname, sethostname};

use crate::Outcome;
use crate::files::{self, DIRECTORY_MODE, Owner, Request};
use crate::root::{FileError, Root};
use crate::systemd::Systemd;

/// The file of the static hostname.
pub const PATH: &str = "/etc/hostname";
const MODE: u32 = 0o644;
const MAX_BYTES: usize = 4096;

/// Why the hostname was not set.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum HostnameError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot set the kernel's host name")]
    Kernel(#[source] io::Error),
}

/// The kernel's hostname; empty if it is not UTF-8.
pub fn current() -> String {
    gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// Sets the hostname in the file and, on the running machine, in the kernel.
///
/// # Errors
/// The file cannot be written, or the kernel refuses the name.
pub fn set<'a>(
    root: &Root,
    name: &str,
    systemd: impl FnOnce() -> Option<&'a Systemd>,
) -> Result<Outcome, HostnameError> {
    let stored = files::read(root, PATH, MAX_BYTES)?.unwrap_or_default();
    let is_stored = stored.trim_ascii() == name.as_bytes();
    if is_stored && (!root.is_machine() || current() == name) {
        return Ok(Outcome::Unchanged);
    }
    if root.is_machine()
        && let Some(systemd) = systemd()
        && systemd.has_hostnamed()
        && systemd.set_hostname(name).is_ok()
        && current() == name
    {
        return Ok(Outcome::Changed);
    }
    let content = format!("{name}\n");
    files::write(
        root,
        &Request {
            path: PATH,
            mode: MODE,
            owner: Owner::default(),
            content: content.as_bytes(),
            directory_mode: DIRECTORY_MODE,
        },
    )?;
    if root.is_machine() && current() != name {
        sethostname(name).map_err(|error| HostnameError::Kernel(error.into()))?;
    }
    Ok(Outcome::Changed)
}
