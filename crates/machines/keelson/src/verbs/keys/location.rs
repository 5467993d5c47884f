//! Locations of key sets, and their validity.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use release_folder::KeySetStatus;

pub const DAY_SECONDS: u64 = 24 * 3600;
/// Default validity of a key set: three years.
pub const EXPIRES_DAYS: u64 = 1095;

/// The key set or the keys in the image, relative to the checkout.
pub const PINNED: &str = "os/rootfs/usr/share/keelson/keys";

/// Where the sets are.
#[derive(Debug, clap::Args)]
pub struct KeysFolder {
    /// Folder of the keys [default: ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
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

/// Fails unless the set has enough signatures.
pub fn ensure_complete(standing: &KeySetStatus) -> anyhow::Result<()> {
    let missing = standing.missing().join("; ");
    ensure!(standing.is_complete(), "set {} is not fully signed: {missing}", standing.set.epoch);
    Ok(())
}
