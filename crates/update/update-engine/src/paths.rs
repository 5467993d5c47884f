//! Paths of a machine.

use std::path::{Path, PathBuf};

use update_core::roots;

/// The root folder: `/`, or a test's.
#[derive(Debug, Clone)]
pub struct Paths(PathBuf);

impl Paths {
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// `path` is relative.
    #[must_use]
    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// `update.conf` and its fallbacks, in order of precedence.
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

    /// The image's root.
    #[must_use]
    pub fn image_root(&self) -> PathBuf {
        self.at("usr/share/keelson/keys").join(roots::FILE)
    }

    /// The operator's root, which `ALLOW_LOCAL_KEYS` enables.
    #[must_use]
    pub fn local_root(&self) -> PathBuf {
        self.at("etc/keelson/keys.d").join(roots::FILE)
    }

    /// Files with the registration token, in order of precedence: the operator's, and the host's.
    #[must_use]
    pub fn registration_tokens(&self) -> [PathBuf; 2] {
        ["etc/keelson/registration.token", "run/coreos/registration.token"].map(|path| self.at(path))
    }

    /// Files of the CoreOS update engine, one value each.
    #[must_use]
    pub fn preference(&self, key: &str) -> PathBuf {
        self.at("var/lib/update_engine/prefs").join(key)
    }

    /// Files of this implementation.
    #[must_use]
    pub fn state_file(&self, file: &str) -> PathBuf {
        self.state_folder().join(file)
    }

    /// Contains them.
    #[must_use]
    pub fn state_folder(&self) -> PathBuf {
        self.at("var/lib/keelson/update")
    }

    /// Exists while a reboot is pending. Lost at reboot.
    #[must_use]
    pub fn completed(&self) -> PathBuf {
        self.at("run/update_engine_autoupdate_completed")
    }

    /// Lock for changes of the slots.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.at("run/update-engine/slots.lock")
    }

    /// For operators, the login message and scripts.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.at("run/update-engine/status.json")
    }

    /// Metrics in Prometheus's text format.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.at("run/update-engine/metrics.prom")
    }

    /// EFI variable: whether Secure Boot is enabled.
    #[must_use]
    pub fn secure_boot(&self) -> PathBuf {
        self.at("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
    }

    /// EFI variable: the allowed signers.
    #[must_use]
    pub fn allowed_signers(&self) -> PathBuf {
        self.at("sys/firmware/efi/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f")
    }

    /// Mount point of the boot partition.
    #[must_use]
    pub fn boot(&self) -> PathBuf {
        self.at("boot")
    }
}
