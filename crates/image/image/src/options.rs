//! How an image is to be built, and where.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::enrolment::SigningKey;
use crate::programs::Profile;

#[derive(Debug, Clone)]
pub struct Options {
    /// The checkout.
    pub checkout: PathBuf,
    /// Intermediate results; default `target/image` of the checkout.
    pub work: PathBuf,
    /// Verified packages; shared by all checkouts of a user.
    pub cache: PathBuf,
    pub version: Option<String>,
    pub channel: String,
    pub profile: Profile,
    pub sign: Option<SigningKey>,
    /// Where a locked package is gone from every mirror: resolve it anew and mark the version, instead of stopping.
    pub renew_gone: bool,
    /// Set from outside to stop the build before its next step.
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
            renew_gone: false,
            cancel: Arc::default(),
        }
    }

    /// Where apt keeps its index of the mirrors.
    #[must_use]
    pub fn apt_folder(&self) -> PathBuf {
        self.cache.with_file_name("apt")
    }
}

/// `$XDG_CACHE_HOME/keelson`, else `~/.cache/keelson`, else a folder in `/tmp`.
#[must_use]
pub fn user_cache() -> PathBuf {
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("keelson")
}
