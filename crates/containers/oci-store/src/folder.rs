//! The contents of an open folder.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt as _;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// The names in a folder, without `.` and `..`.
pub fn names(folder: &File) -> io::Result<Vec<OsString>> {
    // A new description: the position in the listing belongs to it.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let opened = openat(folder.as_fd(), ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(opened)?.iter() {
        let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}
