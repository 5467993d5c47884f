//! Sets a fixed umask for the duration of a build.
//!
//! Modes are part of the image; those of tools (depmod, systemctl) and of folders that no package contains depend on
//! the umask. It applies to the whole process and its children.

use nix::sys::stat::{Mode, umask};

/// While this exists, new files are readable by all and writable by their owner.
#[derive(Debug)]
pub struct BuildUmask {
    previous: Mode,
}

impl BuildUmask {
    #[must_use]
    pub fn set() -> Self {
        Self { previous: umask(Mode::S_IWGRP | Mode::S_IWOTH) }
    }
}

impl Drop for BuildUmask {
    fn drop(&mut self) {
        umask(self.previous);
    }
}
