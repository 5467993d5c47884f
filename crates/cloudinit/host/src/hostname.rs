//! The machine's name: asked of hostnamed where it runs, so that everybody who listens to it learns of the name, and else
//! set directly. To start hostnamed for it takes longer than all else in a first boot's config, and nobody listens to
//! what does not run; it reads both places when it is started.

use std::io;

use nix::unistd::{gethostname, sethostname};

use crate::Outcome;
use crate::files::{self, DIRECTORY_MODE, Owner, Request};
use crate::root::{FileError, Root};
use crate::systemd::Systemd;

/// The file that has the name.
pub const PATH: &str = "/etc/hostname";
const MODE: u32 = 0o644;
const MAX_BYTES: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum HostnameError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot set the kernel's host name")]
    Kernel(#[source] io::Error),
}

/// The kernel's name now; empty if it is not text.
pub fn current() -> String {
    gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

/// Sets the name in the file and, on the running machine, in the kernel.
///
/// # Errors
/// What could not be done.
pub fn set<'a>(
    root: &Root,
    name: &str,
    systemd: impl FnOnce() -> Option<&'a Systemd>,
) -> Result<Outcome, HostnameError> {
    let stored = files::read(root, PATH, MAX_BYTES)?.unwrap_or_default();
    let stored_right = stored.trim_ascii() == name.as_bytes();
    if stored_right && (!root.is_machine() || current() == name) {
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
