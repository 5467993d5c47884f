//! Options of a build.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::enrolment::SigningKey;
use crate::programs::Profile;

#[derive(Debug, Clone)]
pub struct Options {
    pub checkout: PathBuf,
    /// Folder of intermediate results; `target/image` in the checkout by default.
    pub work: PathBuf,
    /// Cache of verified packages, shared by all checkouts of a user.
    pub cache: PathBuf,
    pub version: Option<String>,
    pub channel: String,
    pub profile: Profile,
    pub sign: Option<SigningKey>,
    /// If a locked package is on no mirror, resolves all packages again and marks the version, instead of failing.
    pub renew_missing: bool,
    /// Cancels the build before its next step.
    pub cancel: Arc<AtomicBool>,
}

impl Options {
    #[must_use]
    pub fn for_checkout(checkout: &Path) -> Self {
        Self {
            checkout: checkout.to_path_buf(),
            work: checkout.join("target/image"),
            cache: user_cache().join("debs"),
            version: None,
            channel: "alpha".to_owned(),
            profile: Profile::Node,
            sign: None,
            renew_missing: false,
            cancel: Arc::default(),
        }
    }

    /// Folder of apt's package index.
    #[must_use]
    pub fn apt_folder(&self) -> PathBuf {
        self.cache.with_file_name("apt")
    }
}

/// `$XDG_CACHE_HOME/keelson`, `~/.cache/keelson`, or a folder in `/tmp`.
#[must_use]
pub fn user_cache() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("keelson")
}
