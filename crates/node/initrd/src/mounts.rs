//! Mounts file systems with systemd's options, so that the node sees no difference.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::kernel_log;

/// The mount point of the node's root before switch_root.
pub const ROOT: &str = "/sysroot";
/// Where systemd-repart looks for its definitions without a root file system.
pub const USR: &str = "/sysusr/usr";
/// The device of `/usr`, under systemd's name.
pub const MAPPED_USR: &str = "/dev/mapper/usr";
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Moved with the root.
const KERNEL_INTERFACES: [&str; 4] = ["dev", "proc", "sys", "run"];

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct MountError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn mount_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MountError {
    move |source| MountError { action, path: path.to_owned(), source }
}

pub fn make_folder(path: &Path) -> Result<(), MountError> {
    fs::create_dir_all(path).map_err(mount_error("make", path))
}

/// Mounts `source` on `target`, and creates the folder if missing.
pub fn mount_on(
    source: &str,
    target: &Path,
    kind: &str,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), MountError> {
    make_folder(target)?;
    mount(Some(source), target, Some(kind), flags, options)
        .map_err(io::Error::from)
        .map_err(mount_error("mount", target))
}

/// `/proc`, `/sys`, `/dev` and `/run`.
pub fn mount_kernel_interfaces() -> Result<(), MountError> {
    let restricted = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let run = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME;
    mount_on(
        "devtmpfs",
        Path::new("/dev"),
        "devtmpfs",
        MsFlags::MS_NOSUID,
        Some("mode=0755,size=4m,nr_inodes=64k"),
    )?;
    mount_on("proc", Path::new("/proc"), "proc", restricted, None)?;
    mount_on("sysfs", Path::new("/sys"), "sysfs", restricted, None)?;
    mount_on("tmpfs", Path::new("/run"), "tmpfs", run, Some("mode=0755,size=20%,nr_inodes=800k"))
}

/// The file systems of systemd's units of these paths, which start two programs for each that is not mounted.
const API_FILE_SYSTEMS: [(&str, &str, MsFlags); 3] = [
    ("hugetlbfs", "/dev/hugepages", MsFlags::empty()),
    ("mqueue", "/dev/mqueue", MsFlags::MS_NOEXEC),
    ("debugfs", "/sys/kernel/debug", MsFlags::MS_NOEXEC),
];

/// Mounts [`API_FILE_SYSTEMS`]. Where one fails, its unit tries again and reports it.
pub fn mount_api_file_systems() {
    for (kind, path, flags) in API_FILE_SYSTEMS {
        mount_on(kind, Path::new(path), kind, flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV, None).ok();
    }
}

/// `false` on a machine without UEFI.
pub fn mount_efi_variables() -> Result<bool, MountError> {
    let folder = Path::new(EFI_VARIABLES);
    if !folder.exists() {
        return Ok(false);
    }
    let restricted = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_on("efivarfs", folder, "efivarfs", restricted, None)?;
    Ok(true)
}

/// Attributes and value of the firmware's variable `NAME-VENDOR`, if it has it.
pub fn efi_variable(name: &str) -> Option<Vec<u8>> {
    fs::read(Path::new(EFI_VARIABLES).join(name)).ok()
}

/// Writes a file and the folders above it.
pub fn write_file(path: &Path, text: &str) -> Result<(), MountError> {
    path.parent().map_or(Ok(()), make_folder)?;
    fs::write(path, text).map_err(mount_error("write", path))
}

/// Replaces the node that device-mapper creates without udev with the link that udev would create.
pub fn link_mapped_usr() -> Result<(), MountError> {
    let mapped = Path::new(MAPPED_USR);
    // No other device-mapper device exists yet.
    let target = Path::new("../dm-0");
    fs::remove_file(mapped).map_err(mount_error("remove", mapped))?;
    symlink(target, mapped).map_err(mount_error("create", mapped))
}

/// Moves a mount.
pub fn move_to(from: &Path, to: &Path) -> Result<(), MountError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(io::Error::from)
        .map_err(mount_error("move a file system to", to))
}

/// Creates the folders and links that programs need to start, as systemd does in an empty root.
pub fn make_base(root: &Path) -> Result<(), MountError> {
    for name in ["bin", "lib", "lib64", "sbin"] {
        let link = root.join(name);
        match symlink(Path::new("usr").join(name), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(mount_error("create", &link)(error));
            }
            _ => {}
        }
    }
    let home = root.join("root");
    match fs::DirBuilder::new().mode(0o750).create(&home) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(mount_error("create", &home)(error))
        }
        _ => Ok(()),
    }
}

/// Undoes the ordinary boot's mounts, as far as it came.
pub fn unmount_node() {
    for path in ["/sysroot/etc", "/sysroot/usr", ROOT, USR] {
        match umount2(path, MntFlags::empty()) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => kernel_log::warning(&format!("cannot unmount {path}: {error}")),
        }
    }
}

/// Makes `root` the root of this process, and deletes the initrd's files to free their memory.
pub fn switch_root(root: &Path) -> Result<(), MountError> {
    for name in KERNEL_INTERFACES {
        let to = root.join(name);
        make_folder(&to)?;
        move_to(&Path::new("/").join(name), &to)?;
    }
    let initrd = fs::metadata("/").map_err(mount_error("stat", Path::new("/")))?.dev();
    remove_files(Path::new("/"), initrd);
    std::env::set_current_dir(root).map_err(mount_error("enter", root))?;
    move_to(Path::new("."), Path::new("/"))?;
    std::os::unix::fs::chroot(".").map_err(mount_error("change the root to", root))?;
    std::env::set_current_dir("/").map_err(mount_error("enter", Path::new("/")))
}

/// Deletes everything below `folder` on the file system `device`. Failures only cost memory.
fn remove_files(folder: &Path, device: u64) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.symlink_metadata() {
            Ok(metadata) if metadata.dev() != device => {}
            Ok(metadata) if metadata.is_dir() => {
                remove_files(&path, device);
                drop(fs::remove_dir(&path));
            }
            _ => drop(fs::remove_file(&path)),
        }
    }
}
