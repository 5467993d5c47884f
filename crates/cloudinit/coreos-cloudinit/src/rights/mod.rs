//! Rights of what only reads: fetching, decoding, parsing, checking and planning run in threads that gave up root's.
//!
//! Linux keeps capabilities, Landlock's rules and seccomp's filters for each thread, so that the one that applies the
//! plan keeps its own rights. A thread of which reading is asked must never get them back: not by itself, not by a
//! program that it starts. It is no wall against code that was broken into and writes to the memory of the other
//! threads; it is for all that goes wrong without that: a path, a helper program or a call that leads to where nothing
//! is to be changed.

mod calls;
mod files;

use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Once;
use std::thread;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;

use crate::log::Log;

/// User-data and databases may lie where only another user may read.
const NEEDED: Capability = Capability::CAP_DAC_READ_SEARCH;
/// As much as a process's first thread has: what is parsed here would have been parsed there.
const STACK_BYTES: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    #[error("cannot start a thread that only reads")]
    Thread(#[source] io::Error),
    #[error("cannot give up capabilities")]
    Capabilities(#[from] CapsError),
    #[error("cannot give up new privileges")]
    NewPrivileges(#[from] Errno),
}

/// What reading needs besides the rights to read.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// It starts programs. They may write to devices, and to no other file.
    pub programs: bool,
    /// Of those programs. The thread itself does not use them.
    pub capabilities: Vec<Capability>,
    /// It writes to these.
    pub devices: Vec<PathBuf>,
}

/// Does the work in a thread that may read what root may and ask other machines, and changes nothing here.
///
/// # Errors
/// The rights cannot be given up; then the work is not done.
pub fn reading<T: Send>(needs: &Needs, log: &Log, work: impl FnOnce() -> T + Send) -> Result<T, RightsError> {
    apart(|| {
        drop_capabilities(&needs.capabilities)?;
        narrow(needs, true, log);
        Ok(work())
    })
}

/// Does the work in a thread that may use what it is given, read, and say what it finds: no program, no socket. For what
/// strangers wrote. To be asked for by a thread that only reads.
///
/// # Errors
/// The rights cannot be given up; then the work is not done.
pub fn parsing<T: Send>(log: &Log, work: impl FnOnce() -> T + Send) -> Result<T, RightsError> {
    apart(|| {
        drop_capabilities(&[])?;
        narrow(&Needs::default(), false, log);
        Ok(work())
    })
}

fn apart<T: Send>(work: impl FnOnce() -> Result<T, RightsError> + Send) -> Result<T, RightsError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("reading".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(RightsError::Thread)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// For this thread, and those and the programs that it starts.
fn drop_capabilities(of_programs: &[Capability]) -> Result<(), RightsError> {
    let own = caps::read(None, CapSet::Permitted)?;
    let kept = |wanted: &[Capability]| -> CapsHashSet {
        wanted.iter().copied().filter(|capability| own.contains(capability)).collect()
    };
    // Without this a program that root starts would have all of root's rights again.
    prctl::set_no_new_privs()?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept(&[NEEDED]))?;
    caps::set(None, CapSet::Permitted, &kept(&[&[NEEDED], of_programs].concat()))?;
    Ok(())
}

/// What the kernel cannot hold the thread to is said once: a machine is not left without its config for it.
fn narrow(needs: &Needs, sockets: bool, log: &Log) {
    static FILES: Once = Once::new();
    static CALLS: Once = Once::new();
    let why = match files::only_read(needs.programs, &needs.devices) {
        Ok(true) => None,
        Ok(false) => Some("this kernel has no Landlock".to_owned()),
        Err(error) => Some(service::error::chain(&error)),
    };
    if let Some(why) = why {
        FILES.call_once(|| log.debug(format!("What only reads is not kept from writing files: {why}")));
    }
    if let Err(error) = calls::refuse(needs.programs, sockets) {
        let why = service::error::chain(&error);
        CALLS.call_once(|| log.debug(format!("What only reads is not kept from calls of the kernel: {why}")));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
