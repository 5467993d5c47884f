//! Bind mounts that map owners to a user namespace.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

use super::user_namespace::{IdRange, UserNamespace};

/// A copy of a mount that is in no directory yet.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl Detached {
    /// The file or folder at `path`, with the mounts below it. With `namespace`, device files do not work, and
    /// owners are those that it maps them to.
    pub fn of(path: &Path, namespace: Option<&UserNamespace>) -> io::Result<Self> {
        let detached = Self::clone_of(path)?;
        if let Some(namespace) = namespace {
            let user_namespace = u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
            detached.set(libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_NODEV, user_namespace)?;
        }
        Ok(detached)
    }

    pub fn read_only(self) -> io::Result<Self> {
        self.set(libc::MOUNT_ATTR_RDONLY, 0)?;
        Ok(self)
    }

    #[allow(unsafe_code, reason = "nix has no open_tree")]
    fn clone_of(path: &Path) -> io::Result<Self> {
        let path = c_string(path)?;
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE.cast_unsigned();
        // SAFETY: the path is a C string that lives until the call returns.
        let opened = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
        match libc::c_int::try_from(opened) {
            // SAFETY: the descriptor is new and has no other owner.
            Ok(number) if number >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(number) })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    #[allow(unsafe_code, reason = "nix has no mount_setattr")]
    fn set(&self, set: u64, user_namespace: u64) -> io::Result<()> {
        let attributes =
            libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: user_namespace };
        let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
        // SAFETY: the structure has the kernel's layout and the given size, and lives until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                flags,
                &raw const attributes,
                size_of::<libc::mount_attr>(),
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Mounts it at `target`.
    #[allow(unsafe_code, reason = "nix has no move_mount")]
    pub fn attach(self, target: &Path) -> io::Result<()> {
        let target = c_string(target)?;
        // SAFETY: both paths are C strings that live until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                self.0.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_FDCWD,
                target.as_ptr(),
                libc::MOVE_MOUNT_F_EMPTY_PATH,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Whether nodes of these host folders can have a user namespace: the kernel maps owners on their file systems, and
/// in overlays of them.
pub fn probe<'a>(range: IdRange, folders: impl IntoIterator<Item = &'a Path>) -> io::Result<()> {
    let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
    if !maps_overlays(&release) {
        return Err(io::Error::other(format!("Linux {release} does not map owners in overlays, 5.19 does")));
    }
    let namespace = UserNamespace::create(range)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot create a user namespace: {error}")))?;
    folders.into_iter().try_for_each(|folder| {
        Detached::of(folder, Some(&namespace)).map(drop).map_err(|error| {
            let message = format!("the file system of {} maps no owners: {error}", folder.display());
            io::Error::new(error.kind(), message)
        })
    })
}

fn maps_overlays(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (5, 19)
}

fn c_string(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn kernels_before_5_19_map_no_overlays() {
        for (release, expect) in
            [("5.18.99", false), ("5.19", true), ("6.1.0-40-amd64", true), ("4.19.0", false), ("", false)]
        {
            assert_eq!(maps_overlays(release), expect, "{release}");
        }
    }

    #[test]
    #[ignore = "wants root: cargo verify wants"]
    fn owners_are_mapped_and_devices_do_not_work() {
        const NONE: Option<&str> = None;
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        for folder in [&from, &to] {
            fs::create_dir(folder).unwrap();
        }
        let (file, device) = (from.join("file"), from.join("null"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(500), Some(7)).unwrap();
        let kind = nix::sys::stat::SFlag::S_IFCHR;
        let number = nix::sys::stat::makedev(1, 3);
        nix::sys::stat::mknod(&device, kind, nix::sys::stat::Mode::S_IRWXU, number).unwrap();
        fs::write(&device, "").unwrap();
        let range = IdRange::of("core-01");
        // The mount is in a namespace of this thread.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
                let namespace = UserNamespace::create(range).unwrap();
                Detached::of(&from, Some(&namespace)).unwrap().attach(&to).unwrap();
                let owner = fs::metadata(to.join("file")).unwrap();
                assert_eq!((owner.uid(), owner.gid()), (range.root + 500, range.root + 7));
                assert_eq!(fs::metadata(&to).unwrap().uid(), range.root);
                let error = fs::write(to.join("null"), "").unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                let error = fs::write(to.join("new"), "").unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EOVERFLOW), "the host's root owns nothing in it");
            });
        });
    }
}
