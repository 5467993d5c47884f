//! The live system: the disk image is in the initrd, and the root file system in memory, or on the device that the kernel
//! command line names.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::MsFlags;
use release::Digest;

use crate::boot::{BootError, SHA256, complete, open_usr, wait_for_devices};
use crate::disk;
use crate::kernel_log;
use crate::memory;
use crate::mounts::{self, MountError, ROOT};
use crate::programs::{ProgramError, first_line, run};

/// What `image` adds to the initrd: the properties of the archive below, and a read-only file system with the disk image.
const PROPERTIES: &str = "/live/image.conf";
const IMAGE: &str = "/live/image.erofs";
const ROOT_HASH: &str = "USR_ROOT_HASH";
/// Digits of a root hash.
const DIGITS: usize = 64;
/// Where the file system is mounted. The node sees it at the same path.
const MOUNTED: &str = "/run/keelson/live";
const DISK: &str = "/run/keelson/live/disk.raw";
/// Files that a further initrd provides for the OEM partition, and the folder that replaces the partition.
const OEM: &str = "/usr/share/oem";
const OEM_FOLDER: &str = "/run/keelson/oem";
/// Least memory of a machine, in KiB: kernel, image, and room for the services.
const MIN_MEMORY: u64 = 900 << 10;
/// Required by every live system. `efivarfs` is optional: the machine may have booted without UEFI.
const MODULES: [&str; 7] = ["dm_mod", "dm_verity", "erofs", "ext4", "loop", "overlay", SHA256];

#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{PROPERTIES} has no {0}")]
    Property(&'static str),
    #[error("the machine has {has} MiB of memory, the live system needs {}", MIN_MEMORY >> 10)]
    Memory { has: u64 },
    #[error(
        "the kernel could not unpack the live image: the initrd was cut, or {has} MiB of memory are too little with \
         this firmware; root=tmpfs on the command line lifts the limit of half of the memory"
    )]
    Incomplete { has: u64 },
    #[error("usrhash={pinned} on the kernel command line is not the live image's root hash, {of_image}")]
    Pinned { pinned: String, of_image: Digest },
    #[error("the live image has no partitions of root hash {0}")]
    Partitions(Digest),
    #[error("cannot mount root={0}: no such device, or no file system of this type")]
    Root(String),
}

/// Whether this initrd contains a live image.
pub fn is_live() -> bool {
    Path::new(PROPERTIES).exists()
}

/// Mounts the node's root, `/usr` and `/etc` below [`ROOT`].
pub fn mount_node() -> Result<(), LiveError> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|source| LiveError::Read { path: PathBuf::from(path), source })
    };
    let options = Options::parse(&read("/proc/cmdline")?);
    let root_hash = root_hash(&read(PROPERTIES)?)?;
    check_memory(&read("/proc/meminfo")?, root_hash)?;
    if let Some(pinned) = options.pinned(root_hash) {
        return Err(LiveError::Pinned { pinned, of_image: root_hash });
    }
    // A processor without the instructions refuses the last one.
    run(Command::new("modprobe").args(["-a", "-q"]).args(MODULES)).ok();
    run(Command::new("modprobe").args(["-q", "efivarfs"])).ok();
    mounts::mount_efi_variables()?;
    let folder = Path::new(MOUNTED);
    mounts::make_folder(folder)?;
    run(Command::new("mount").args(["-t", "erofs", "-o", "ro,loop", IMAGE]).arg(folder))?;
    let device = first_line(
        Command::new("losetup").args(["--find", "--show", "--read-only", "--partscan"]).arg(DISK),
    )?;
    let name = Path::new(&device).file_name().unwrap_or_default().to_string_lossy();
    let devices =
        disk::devices_of(Path::new("/"), &name, root_hash).ok_or(LiveError::Partitions(root_hash))?;
    open_usr(&devices, root_hash)?;
    let sysroot = Path::new(ROOT);
    options.mount_root(sysroot)?;
    complete(sysroot)?;
    if Path::new(OEM).exists() {
        run(Command::new("mv").arg(OEM).arg(OEM_FOLDER))?;
    }
    Ok(())
}

/// A kernel that runs out of memory stops unpacking: the file has its length, but zeros at the end.
fn check_memory(meminfo: &str, root_hash: Digest) -> Result<(), LiveError> {
    let total = memory::total(meminfo);
    if let Some(total) = total.filter(|total| *total < MIN_MEMORY) {
        return Err(LiveError::Memory { has: total >> 10 });
    }
    let last = last_bytes(Path::new(IMAGE))
        .map_err(|source| LiveError::Read { path: PathBuf::from(IMAGE), source })?;
    if last == root_hash.to_string() {
        Ok(())
    } else {
        Err(LiveError::Incomplete { has: total.unwrap_or_default() >> 10 })
    }
}

/// As much of the end of a file as a root hash in hex has.
fn last_bytes(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut last = [0; DIGITS];
    file.seek(SeekFrom::End(-(DIGITS as i64)))?;
    file.read_exact(&mut last)?;
    Ok(String::from_utf8_lossy(&last).into_owned())
}

/// The root hash of `/live/image.conf`.
fn root_hash(properties: &str) -> Result<Digest, LiveError> {
    let found = properties.lines().find_map(|line| line.strip_prefix(ROOT_HASH)?.strip_prefix('='));
    found.and_then(|hash| hash.parse().ok()).ok_or(LiveError::Property(ROOT_HASH))
}

/// The kernel command line, as far as the live system implements it. The last of two equal options counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    /// A device, or a tag that mount(8) finds one by. `None` is memory.
    root: Option<String>,
    kind: Option<String>,
    flags: Option<String>,
    root_hash: Option<String>,
}

impl Options {
    fn parse(command_line: &str) -> Self {
        let mut options = Self::default();
        for argument in command_line.split_ascii_whitespace() {
            let Some((key, value)) = argument.split_once('=') else { continue };
            let value = Some(value.trim_matches('"').to_owned());
            match key {
                "root" => options.root = value,
                "rootfstype" => options.kind = value,
                "rootflags" => options.flags = value,
                "usrhash" => options.root_hash = value,
                _ => {}
            }
        }
        options.root = options.root.filter(|root| root != "tmpfs");
        options
    }

    /// The root hash that the operator demands, if it is another one.
    fn pinned(&self, of_image: Digest) -> Option<String> {
        self.root_hash.clone().filter(|pinned| pinned.parse() != Ok(of_image))
    }

    fn mount_root(&self, sysroot: &Path) -> Result<(), LiveError> {
        let Some(root) = &self.root else {
            if let Some(kind) = self.kind.as_ref().filter(|kind| *kind != "tmpfs") {
                kernel_log::warning(&format!(
                    "rootfstype={kind} without root=: the root file system is a tmpfs"
                ));
            }
            return Ok(mounts::mount_on("tmpfs", sysroot, "tmpfs", MsFlags::empty(), Some("mode=0755"))?);
        };
        mounts::make_folder(sysroot)?;
        let options = self.flags.as_deref().unwrap_or("rw");
        let mount = || {
            let mut command = Command::new("mount");
            command.args(["-t", self.kind.as_deref().unwrap_or("ext4"), "-o", options, root]);
            run(command.arg(sysroot)).ok()
        };
        wait_for_devices(&format!("root={root}"), mount).ok_or_else(|| LiveError::Root(root.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "2172ea758f492c2858d62d314f746d4db57c1438b02a433483407a8d6f823d7d";

    #[test]
    fn the_root_is_in_memory_unless_a_device_is_named() {
        let root = |line: &str| Options::parse(line).root;
        assert_eq!(root("console=ttyS0 rootfstype=tmpfs"), None);
        assert_eq!(root("root=tmpfs"), None);
        assert_eq!(root("root=/dev/sda9 rootfstype=btrfs root=LABEL=ROOT"), Some("LABEL=ROOT".to_owned()));
        assert_eq!(root("root=\"LABEL=ROOT\""), Some("LABEL=ROOT".to_owned()));
    }

    #[test]
    fn a_pinned_root_hash_is_compared() {
        let of_image = HASH.parse().unwrap();
        let pinned = |line: &str| Options::parse(line).pinned(of_image);
        assert_eq!(pinned("quiet"), None);
        assert_eq!(pinned(&format!("usrhash={HASH}")), None);
        assert_eq!(pinned("usrhash=beef"), Some("beef".to_owned()));
    }

    #[test]
    fn the_root_hash_is_read() {
        let text = format!("A=b\nUSR_ROOT_HASH={HASH}\n");
        assert_eq!(root_hash(&text).unwrap().to_string(), HASH);
        for bad in [text.replace("USR_", ""), text.replace(HASH, "beef")] {
            assert!(matches!(root_hash(&bad), Err(LiveError::Property(_))), "{bad}");
        }
    }

    #[test]
    fn too_little_memory_is_an_error_with_both_numbers() {
        let hash = HASH.parse().unwrap();
        let error = check_memory("MemTotal:         498000 kB\nMemFree: 1 kB\n", hash).unwrap_err();
        assert_eq!(error.to_string(), "the machine has 486 MiB of memory, the live system needs 900");
    }
}
