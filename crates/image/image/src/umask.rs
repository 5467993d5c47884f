//! A build makes its files with the modes that everybody's has, whatever the user's umask is.
//!
//! Modes are part of the image, and tools (depmod, systemctl) and folders that no package ships follow the umask.
//! It is the process's, so it is set for the time of the build and for all of its children.

use nix::sys::stat::{Mode, umask};

/// While it lives, new files may be read by all and written by their owner.
#[derive(Debug)]
pub struct PublicModes {
    before: Mode,
}

impl PublicModes {
    #[must_use]
    pub fn set() -> Self {
        Self { before: umask(Mode::S_IWGRP | Mode::S_IWOTH) }
    }
}

impl Drop for PublicModes {
    fn drop(&mut self) {
        umask(self.before);
    }
}
