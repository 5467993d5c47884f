//! The steps of the ordinary boot.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use nix::sys::reboot::{RebootMode, reboot};
use release::Digest;

use crate::command_line::{CommandLineError, root_hash};
use crate::disk::{self, Devices};
use crate::kernel_log;
use crate::mounts::{self, MAPPED_USR, MountError, ROOT, USR};
use crate::programs::{ProgramError, run, run_accepting};

/// Required by every boot, whatever disk it has.
const MODULES: [&str; 6] = ["dm_mod", "dm_verity", "efivarfs", "erofs", "ext4", "overlay"];
/// Hashes with the processor's instructions; one without them refuses the module. dm-verity keeps the driver that it
/// finds when `/usr` is opened.
pub const SHA256: &str = "sha256_ssse3";
/// `systemd-pstore.service` starts modprobe for it, if it is missing.
const PSTORE: &str = "efi_pstore";
/// Buses that disks may be attached to.
const BUSES: [&str; 7] = ["pci", "virtio", "scsi", "usb", "vmbus", "xen", "mmc"];
/// How long to wait for the disk after the last new device. systemd waits longer, and reports for what.
const DISK_TIMEOUT: Duration = Duration::from_secs(10);
/// After this time the console reports what is waited for.
const REPORT_AFTER: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Set if systemd-boot counts this boot: the version is on trial.
const BOOT_COUNT_VARIABLE: &str = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Set by `keelson-reset`: systemd-repart must recreate the root file system.
const RESET_VARIABLE: &str = "FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67";
/// The variable's content, attributes and UTF-16 text, if the OEM partition is to be erased, too.
const RESET_WITH_OEM: [u8; 10] = [7, 0, 0, 0, b'o', 0, b'n', 0, 0, 0];
/// systemd-repart discards the blocks of a new partition. mke2fs would do it again, through a loop device, which zeroes
/// them instead: a disk that cannot discard writes its whole size.
const MKFS_OPTIONS: (&str, &str) = ("SYSTEMD_REPART_MKFS_OPTIONS_EXT4", "-E nodiscard,lazy_itable_init=1");
/// A first boot leaves it to the next one to zero the inode tables of the new file system, 87 MiB of 5.4 GiB.
const NO_INODE_TABLES: &str = "noinit_itable";
/// Drop-in for the definition of the OEM partition in `os/rootfs/usr/lib/repart.d`, where systemd-repart looks for it.
const OEM_DROP_IN: &str = "/sysusr/run/repart.d/40-oem.conf.d/10-reset.conf";
/// Equal to that of `keelson-boot-limit.timer`.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(600);
/// fsck(8): no errors, or errors corrected.
const FSCK_OK: [i32; 2] = [0, 1];

#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no disk with the partitions of root hash {0} found")]
    NoDisk(Digest),
    #[error("a factory reset is requested")]
    Reset,
    #[error("systemd-repart created no root file system")]
    NoRoot,
    #[error("cannot start systemd")]
    Start(#[source] io::Error),
}

/// Mounts the node's root, `/usr` and `/etc` below [`ROOT`].
pub fn mount_node() -> Result<(), BootError> {
    let path = PathBuf::from("/proc/cmdline");
    let line = fs::read_to_string(&path).map_err(|source| BootError::Read { path, source })?;
    let root_hash = root_hash(&line)?;
    run(Command::new("modprobe").arg("-a").args(MODULES))?;
    if mounts::mount_efi_variables()? {
        if let Some(request) = mounts::efi_variable(RESET_VARIABLE) {
            if request == RESET_WITH_OEM {
                mounts::write_file(Path::new(OEM_DROP_IN), "[Partition]\nFactoryReset=yes\n")?;
            }
            return Err(BootError::Reset);
        }
        if mounts::efi_variable(BOOT_COUNT_VARIABLE).is_some() {
            limit_trial();
        }
    }
    let devices = wait_for_disk(root_hash)?;
    open_usr(&devices, root_hash)?;
    let root = root_partition(&devices, root_hash)?;
    let is_new = devices.root.is_none();
    if !is_new {
        run_accepting(Command::new("fsck.ext4").arg("-a").arg(&root), &FSCK_OK)?;
    }
    let sysroot = Path::new(ROOT);
    let options = is_new.then_some(NO_INODE_TABLES);
    mounts::mount_on(&root.to_string_lossy(), sysroot, "ext4", MsFlags::empty(), options)?;
    if disk::is_smaller_than_partition(&root).map_err(|source| BootError::Read { path: root, source })? {
        run(Command::new("/usr/lib/systemd/systemd-growfs").arg(sysroot))?;
    }
    complete(sysroot)
}

/// Adds `/usr`, `/etc`, and what programs need to start, to a mounted root file system.
pub fn complete(sysroot: &Path) -> Result<(), BootError> {
    let usr = sysroot.join("usr");
    mounts::make_folder(&usr)?;
    mounts::move_to(Path::new(USR), &usr)?;
    mounts::make_base(sysroot)?;
    mount_etc(sysroot)
}

/// Reboots if a version on trial hangs here: the boot loader counts this try.
fn limit_trial() {
    thread::spawn(|| {
        thread::sleep(TRIAL_TIMEOUT);
        kernel_log::warning("the version on trial hangs in the initrd: rebooting");
        let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
        kernel_log::warning(&format!("cannot reboot: {error}"));
    });
}

/// Loads drivers for the devices on the buses until the disk appears.
fn wait_for_disk(root_hash: Digest) -> Result<Devices, BootError> {
    let what = format!("the disk with the partitions of root hash {root_hash}");
    wait_for_devices(&what, || disk::find(Path::new("/"), root_hash)).ok_or(BootError::NoDisk(root_hash))
}

/// Loads drivers for the devices on the buses until `find` returns something, or no device has appeared for
/// [`DISK_TIMEOUT`]. `what` is waited for.
pub fn wait_for_devices<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> Option<T> {
    let mut last_device = Instant::now();
    let (mut loaded, mut is_reported) = (BTreeSet::new(), false);
    loop {
        let new: Vec<String> =
            aliases(Path::new("/sys/bus")).into_iter().filter(|alias| loaded.insert(alias.clone())).collect();
        if !new.is_empty() {
            // Most devices have no driver in the initrd.
            run(Command::new("modprobe").args(["-a", "-b", "-q", SHA256, PSTORE]).args(&new)).ok();
            last_device = Instant::now();
        }
        let found = find();
        if found.is_some() || last_device.elapsed() > DISK_TIMEOUT {
            return found;
        }
        if last_device.elapsed() > REPORT_AFTER && !is_reported {
            kernel_log::warning(&format!("waiting for {what}"));
            is_reported = true;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The devices' module aliases.
fn aliases(buses: &Path) -> BTreeSet<String> {
    let of_bus = |bus: &str| fs::read_dir(buses.join(bus).join("devices")).into_iter().flatten();
    let devices = BUSES.iter().flat_map(|bus| of_bus(bus)).flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("modalias")).ok())
        .map(|alias| alias.trim().to_owned())
        .collect()
}

/// Opens the verified `/usr` and mounts it on [`USR`].
pub fn open_usr(devices: &Devices, root_hash: Digest) -> Result<(), BootError> {
    let mut command = Command::new("/usr/lib/systemd/systemd-veritysetup");
    command.args(["attach", "usr"]).args([&devices.usr, &devices.verity]).arg(root_hash.to_string());
    run(&mut command)?;
    mounts::link_mapped_usr()?;
    mounts::mount_on(MAPPED_USR, Path::new(USR), "erofs", MsFlags::MS_RDONLY, None)?;
    Ok(())
}

/// Undoes [`open_usr`], if it ran: udev does not recognise a device-mapper device created before it started.
pub fn close_usr() {
    // The device, not its link, which is created later.
    if Path::new("/sys/block/dm-0").exists() {
        fs::remove_file(MAPPED_USR).ok();
        run(Command::new("dmsetup").args(["remove", "usr"])).ok();
    }
}

/// The root partition. systemd-repart creates it at the first boot, and grows it later.
fn root_partition(devices: &Devices, root_hash: Digest) -> Result<PathBuf, BootError> {
    if let (Some(root), false) = (&devices.root, devices.has_free_space) {
        return Ok(root.clone());
    }
    // Without a loop device, systemd-repart builds the file system in memory.
    run(Command::new("modprobe").arg("loop"))?;
    // mke2fs prints its progress on stdout.
    let mut repart = Command::new("systemd-repart");
    repart.args(["--dry-run=no", "--pretty=no"]).env(MKFS_OPTIONS.0, MKFS_OPTIONS.1);
    run(repart.stdout(Stdio::null()))?;
    let found = disk::find(Path::new("/"), root_hash).and_then(|devices| devices.root);
    found.ok_or(BootError::NoRoot)
}

/// Mounts `/etc`: the node's changes over the image's defaults.
fn mount_etc(sysroot: &Path) -> Result<(), BootError> {
    let changes = sysroot.join("var/lib/keelson/etc");
    let [lower, upper, work] =
        [sysroot.join("usr/share/factory/etc"), changes.join("upper"), changes.join("work")];
    for folder in [&upper, &work] {
        mounts::make_folder(folder)?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    Ok(mounts::mount_on("overlay", &sysroot.join("etc"), "overlay", MsFlags::empty(), Some(&options))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_made_as_by_the_unit() {
        let unit = include_str!(
            "../../../../image/initrd/usr/lib/systemd/system/systemd-repart.service.d/10-keelson.conf"
        );
        let line = format!("Environment=\"{}={}\"\n", MKFS_OPTIONS.0, MKFS_OPTIONS.1);
        assert!(unit.contains(&line), "{unit}");
    }

    #[test]
    fn trial_timeout_equals_the_timer() {
        let timer = include_str!("../../../../image/initrd/usr/lib/systemd/system/keelson-boot-limit.timer");
        let limit = format!("OnStartupSec={}min\n", TRIAL_TIMEOUT.as_secs() / 60);
        assert!(timer.contains(&limit) && timer.contains(BOOT_COUNT_VARIABLE), "{timer}");
    }
}
