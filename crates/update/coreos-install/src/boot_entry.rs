//! The firmware's boot entry, for `-u`.

use anyhow::{Context, Result, bail};
use disk_install::BootEntries;
use disk_slots::gpt::ImageTable;

use crate::destination::Destination;
use crate::job::Job;
use crate::partitions::{ESP, part};
use crate::settings::Settings;

/// Path of the boot loader, which is the one that firmware looks for.
const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";
const LOADER_ARM64: &str = r"\EFI\BOOT\BOOTAA64.EFI";
pub(crate) const EFI_VARIABLES: &str = "sys/firmware/efi/efivars";

/// The firmware's boot entries, if there shall be another one.
pub fn open(job: &Job<'_>, destination: &Destination) -> Result<Option<BootEntries>> {
    if !job.flags.uefi_entry {
        return Ok(None);
    }
    if destination.is_file() {
        bail!("-u is for disks: no firmware starts from the file {}", destination.path().display());
    }
    Ok(Some(BootEntries::open(&job.root.join(EFI_VARIABLES)).context("cannot create a boot entry (-u)")?))
}

/// Adds the entry of the installed disk. Returns what was done.
pub fn add(firmware: &BootEntries, settings: &Settings, table: &ImageTable) -> Result<String> {
    let title = format!("{} {}", settings.product, settings.channel);
    let loader = if settings.board.starts_with("arm64") { LOADER_ARM64 } else { LOADER };
    let partition = part(table, ESP).with_context(|| format!("the image has no partition {ESP}"))?;
    let number = firmware.add(&title, partition, loader)?;
    Ok(format!("Created the boot entry Boot{number:04X} ({title})."))
}
