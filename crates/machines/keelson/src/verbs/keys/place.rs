//! Where sets of keys are, and how long they count.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use release_folder::KeySetStatus;

/// Seconds.
pub const DAY: u64 = 24 * 3600;
/// Days: three years.
pub const EXPIRES: u64 = 1095;

/// The set or the keys that nodes begin with, in the checkout's picture of them.
pub const PINNED: &str = "os/rootfs/usr/share/keelson/keys";

/// Where the sets are.
#[derive(Debug, clap::Args)]
pub struct From {
    /// Folder of the keys [default: ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl From {
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        self.keys.clone().map_or_else(folder, Ok)
    }
}

/// Where keys are where nothing else is said.
pub fn folder() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")));
    Ok(config
        .context("neither XDG_CONFIG_HOME nor HOME is set: --out DIR says where keys are")?
        .join("keelson/keys"))
}

/// Seconds since 1970.
pub fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs())
}

/// Machines take it.
pub fn complete(standing: &KeySetStatus) -> anyhow::Result<()> {
    let missing = standing.missing().join("; ");
    ensure!(standing.is_complete(), "set {} is not signed yet: {missing}", standing.set.epoch);
    Ok(())
}
