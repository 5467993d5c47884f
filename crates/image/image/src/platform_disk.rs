//! Lays out the disk of a build again, for a platform.

use std::path::Path;

use sandbox::{Sandbox, SandboxError};

use crate::built::Built;
use crate::disk::{DiskError, KEYS, LOADER, Layout, VERITY, write_disk};

#[derive(Debug, thiserror::Error)]
pub enum PlatformDiskError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Writes `disk.raw` of a build to `folder`, with the files of `oem` on the OEM partition and a size in GiB.
pub fn write_platform_disk(
    built: &Built,
    oem: Option<&Path>,
    size: Option<u32>,
    folder: &Path,
) -> Result<(), PlatformDiskError> {
    let Built { usr_erofs, uki, release, .. } = built;
    let keys = uki.with_file_name(KEYS);
    let tools = Sandbox::new(&built.tools)?.share(&built.checkout).share(folder);
    let tools = [usr_erofs, uki].into_iter().filter_map(|file| file.parent()).fold(tools, Sandbox::share);
    let layout = Layout {
        checkout: &built.checkout,
        id: &release.id,
        version: &release.version,
        full_version: &built.version,
        epoch: release.epoch,
        root_hash: &built.usr_root_hash,
        channel: &built.channel,
        usr: usr_erofs,
        verity: &usr_erofs.with_file_name(VERITY),
        uki,
        loader: &uki.with_file_name(LOADER),
        keys: keys.exists().then_some(&*keys),
        oem,
        size,
        tools: &tools,
    };
    Ok(write_disk(&layout, folder)?)
}
