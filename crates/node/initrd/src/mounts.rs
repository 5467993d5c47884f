//! What is mounted where, as systemd mounts it: the node sees no difference.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::kernel_log;

/// The node's root file system, until it is the root.
pub const ROOT: &str = "/sysroot";
/// Where systemd-repart looks for its definitions before there is a root file system.
pub const USR: &str = "/sysusr/usr";
/// The device of `/usr`, under the name that systemd gives it.
pub const MAPPED_USR: &str = "/dev/mapper/usr";
const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";
/// Move with the root.
const KERNEL_INTERFACES: [&str; 4] = ["dev", "proc", "sys", "run"];

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct MountError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn because(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MountError {
    move |source| MountError { action, path: path.to_owned(), source }
}

pub fn make_folder(path: &Path) -> Result<(), MountError> {
    fs::create_dir_all(path).map_err(because("make", path))
}

/// Mounts `source` on the folder `target`, which is made where it is missing.
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
        .map_err(because("mount", target))
}

/// `/proc`, `/sys`, `/dev` and `/run`.
pub fn mount_kernel_interfaces() -> Result<(), MountError> {
    let closed = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let run = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME;
    mount_on(
        "devtmpfs",
        Path::new("/dev"),
        "devtmpfs",
        MsFlags::MS_NOSUID,
        Some("mode=0755,size=4m,nr_inodes=64k"),
    )?;
    mount_on("proc", Path::new("/proc"), "proc", closed, None)?;
    mount_on("sysfs", Path::new("/sys"), "sysfs", closed, None)?;
    mount_on("tmpfs", Path::new("/run"), "tmpfs", run, Some("mode=0755,size=20%,nr_inodes=800k"))
}

/// False on a machine without UEFI.
pub fn mount_efi_variables() -> Result<bool, MountError> {
    let folder = Path::new(EFI_VARIABLES);
    if !folder.exists() {
        return Ok(false);
    }
    let closed = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_on("efivarfs", folder, "efivarfs", closed, None)?;
    Ok(true)
}

/// Whether the firmware has this variable: `NAME-VENDOR`.
pub fn has_efi_variable(name: &str) -> bool {
    Path::new(EFI_VARIABLES).join(name).exists()
}

/// Without udev, device-mapper makes a node of its own; udev makes links, and finds this one as it would make it.
pub fn link_mapped_usr() -> Result<(), MountError> {
    let mapped = Path::new(MAPPED_USR);
    // It is the only device-mapper device so far.
    let target = Path::new("../dm-0");
    fs::remove_file(mapped).map_err(because("remove", mapped))?;
    symlink(target, mapped).map_err(because("make", mapped))
}

/// Moves a file system to another place.
pub fn move_to(from: &Path, to: &Path) -> Result<(), MountError> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(io::Error::from)
        .map_err(because("move a file system to", to))
}

/// Folders and links without which no program starts, as systemd makes them in an empty root file system.
pub fn make_base(root: &Path) -> Result<(), MountError> {
    for name in ["bin", "lib", "lib64", "sbin"] {
        let link = root.join(name);
        match symlink(Path::new("usr").join(name), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(because("make", &link)(error));
            }
            _ => {}
        }
    }
    let home = root.join("root");
    match fs::DirBuilder::new().mode(0o750).create(&home) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(because("make", &home)(error)),
        _ => Ok(()),
    }
}

/// Takes back what the ordinary path mounts, however far it came.
pub fn unmount_node() {
    for path in ["/sysroot/etc", "/sysroot/usr", ROOT, USR] {
        match umount2(path, MntFlags::empty()) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => kernel_log::warning(&format!("cannot unmount {path}: {error}")),
        }
    }
}

/// Makes `root` the root of this process. The files of the initrd are removed: they take memory.
pub fn switch_root(root: &Path) -> Result<(), MountError> {
    for name in KERNEL_INTERFACES {
        let to = root.join(name);
        make_folder(&to)?;
        move_to(&Path::new("/").join(name), &to)?;
    }
    let initrd = fs::metadata("/").map_err(because("look at", Path::new("/")))?.dev();
    remove_files(Path::new("/"), initrd);
    std::env::set_current_dir(root).map_err(because("enter", root))?;
    move_to(Path::new("."), Path::new("/"))?;
    std::os::unix::fs::chroot(".").map_err(because("make the root of", root))?;
    std::env::set_current_dir("/").map_err(because("enter", Path::new("/")))
}

/// Everything below `folder` that is on the file system `device`. What cannot be removed takes memory, and nothing else.
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
