//! Where everything is on a machine.

use std::path::{Path, PathBuf};

/// The machine's root folder: `/`, or a test's.
#[derive(Debug, Clone)]
pub struct Places(PathBuf);

impl Places {
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// `path` has no slash in front.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// `update.conf` and what else has its keys: the first that has one counts.
    #[must_use]
    pub fn settings(&self) -> [PathBuf; 4] {
        [
            "etc/coreos/update.conf",
            "run/coreos/update.conf",
            "usr/share/coreos/update.conf",
            "usr/share/coreos/release",
        ]
        .map(|path| self.at(path))
    }

    /// What the original's own files hold, one value each.
    #[must_use]
    pub fn preference(&self, key: &str) -> PathBuf {
        self.at("var/lib/update_engine/prefs").join(key)
    }

    /// What only we keep.
    #[must_use]
    pub fn memory(&self, file: &str) -> PathBuf {
        self.at("var/lib/keelson/update").join(file)
    }

    /// Says that an update waits for a reboot. Gone with the boot.
    #[must_use]
    pub fn completed(&self) -> PathBuf {
        self.at("run/update_engine_autoupdate_completed")
    }

    /// Who holds it may change the slots.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.at("run/update-engine/slots.lock")
    }

    /// For people, the login message and scripts.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.at("run/update-engine/status.json")
    }

    /// The firmware's variable that says whether it runs only what is signed.
    #[must_use]
    pub fn secure_boot(&self) -> PathBuf {
        self.at("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
    }

    /// The one that says whose signatures it takes.
    #[must_use]
    pub fn known_signers(&self) -> PathBuf {
        self.at("sys/firmware/efi/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f")
    }

    /// Where the boot partition is mounted.
    #[must_use]
    pub fn boot(&self) -> PathBuf {
        self.at("boot")
    }
}
