//! The child: drops its rights, then decompresses its standard input to its standard output.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use nix::unistd::Pid;
use restrict::system_calls::{Calls, OnEscape, allow_only};
use restrict::{detach, drop_rights, files};
use rustix::process::{Resource, Rlimit, setrlimit};
use service::error::chain;

use super::arguments::compression;
use super::formats;

/// zstd's largest window, and the program.
const MEMORY: u64 = 512 << 20;
const OPEN_FILES: u64 = 8;
const PIECE: usize = 128 << 10;

/// Decompresses. `args`: the compression, and the parent's process ID.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent repeats it. Nobody reads it where there is no parent.
            drop(io::stderr().write_all(chain(&error).as_bytes()));
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &[String]) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let [name, parent] = args else { return Err(invalid()) };
    let compression = compression(name).ok_or_else(invalid)?;
    let parent = parent.parse().map_err(|_| invalid())?;
    detach().and_then(|()| drop_rights(Pid::from_raw(parent))).map_err(io::Error::other)?;
    // Without the buffers of the standard library.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    for (resource, limit) in
        [(Resource::Core, 0), (Resource::Fsize, 0), (Resource::Nofile, OPEN_FILES), (Resource::Data, MEMORY)]
    {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // Where the kernel has no Landlock, the filter of system calls alone keeps files closed.
    files::allow_reads(&[]).map_err(io::Error::other)?;
    allow_only(Calls::Parse, OnEscape::KillProcess).map_err(io::Error::other)?;
    let mut data = formats::decoder(compression, input)?;
    let mut piece = vec![0; PIECE];
    loop {
        match data.read(&mut piece)? {
            0 => return Ok(()),
            read => output.write_all(piece.get(..read).unwrap_or_default())?,
        }
    }
}
