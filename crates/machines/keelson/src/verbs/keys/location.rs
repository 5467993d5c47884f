//! Locations of roots, and their validity.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use release_folder::RootStatus;
use update_core::roots::version;

pub const DAY_SECONDS: u64 = 24 * 3600;
/// Default validity of a root: three years.
const EXPIRES_DAYS: u64 = 1095;
const MAX_EXPIRES_DAYS: u64 = 36_500;

/// The root or the keys in the image, relative to the checkout.
pub const PINNED: &str = "os/rootfs/usr/share/keelson/keys";

/// Where the roots are.
#[derive(Debug, clap::Args)]
pub struct KeysFolder {
    /// Folder of the keys [default: ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

/// How long a root is valid.
#[derive(Debug, clap::Args)]
pub struct Validity {
    /// Validity of the root in days; machines with an expired root install no updates
    #[arg(long = "expires-days", value_name = "N", default_value_t = EXPIRES_DAYS, value_parser = clap::value_parser!(u64).range(1..=MAX_EXPIRES_DAYS))]
    pub days: u64,
}

impl KeysFolder {
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        self.keys.clone().map_or_else(folder, Ok)
    }
}

pub fn folder() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")));
    Ok(config.context("neither XDG_CONFIG_HOME nor HOME is set; use --out or --keys")?.join("keelson/keys"))
}

/// Unix time.
pub fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the system clock is before 1970")?.as_secs())
}

/// Fails unless the root has enough signatures.
pub fn ensure_complete(status: &RootStatus) -> anyhow::Result<()> {
    let missing = status.missing().join("; ");
    ensure!(status.is_complete(), "root version {} is not fully signed: {missing}", version(&status.root));
    Ok(())
}
