//! Drops root's rights for everything that only reads: fetching, decoding, parsing, validating and planning run
//! in restricted threads.
//!
//! Capabilities, Landlock and seccomp are per thread, so the thread that applies the plan keeps its rights. A
//! restricted thread must never regain them, neither itself nor through a program that it starts. This does not
//! contain compromised code, which can write to the memory of other threads; it contains mistakes: a wrong
//! path, helper program or system call.

mod missing;

use std::error::Error;
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use caps::Capability;
use restrict::system_calls::{Calls, OnEscape, allow_only, deny};
use restrict::{CapabilityError, NO_LANDLOCK, files, keep_capabilities};
use service::error::chain;

use crate::log::Log;

pub use missing::warn_once_per_boot;

/// User-data and databases may be readable by another user only.
const READ_CAPABILITY: Capability = Capability::CAP_DAC_READ_SEARCH;
/// Without it, some hypervisors of VMware refuse, and no others do any harm.
const PORT_CAPABILITY: Capability = Capability::CAP_SYS_RAWIO;
/// The stack size of a main thread: parsers may recurse as deep as there.
const STACK_BYTES: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    #[error("cannot start a thread that only reads")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Capabilities(#[from] CapabilityError),
}

/// The rights that reading a source needs beyond reading files and using the network.
#[derive(Debug, Clone, Default)]
pub struct ExtraRights {
    /// Asking services of this machine, such as D-Bus and the user database, over Unix sockets.
    pub services: bool,
    /// Devices that are written to.
    pub devices: Vec<PathBuf>,
    /// Using the I/O ports of VMware's hypervisor.
    pub ports: bool,
}

/// Runs `work` in a thread that may read as root and connect to servers, but change nothing. Without services, it
/// makes only the system calls that this needs, and connects to no D-Bus, where systemd obeys root.
///
/// # Errors
/// The rights cannot be dropped; then `work` does not run.
pub fn read_only<T: Send>(
    rights: &ExtraRights,
    log: &Log,
    work: impl FnOnce() -> T + Send,
) -> Result<T, RightsError> {
    in_thread(|| {
        let capabilities = [READ_CAPABILITY, PORT_CAPABILITY];
        keep_capabilities(if rights.ports { &capabilities } else { &capabilities[..1] })?;
        report_files(files::deny_writes(&rights.devices), log);
        let calls = match rights {
            ExtraRights { devices, .. } if !devices.is_empty() => Calls::Devices,
            ExtraRights { ports: true, .. } => Calls::Ports,
            _ => Calls::Read,
        };
        // What a name service module calls is not known.
        let any_calls = rights.services;
        report_calls(if any_calls { deny() } else { allow_only(calls, OnEscape::Fail) }, log);
        Ok(work())
    })
}

/// Runs `work` in a thread that uses memory and what is open, for untrusted input. It opens no file or socket, and
/// starts no thread or program.
///
/// # Errors
/// The rights cannot be dropped; then `work` does not run.
pub fn parse_only<T: Send>(log: &Log, work: impl FnOnce() -> T + Send) -> Result<T, RightsError> {
    in_thread(|| {
        keep_capabilities(&[])?;
        report_files(files::allow_reads(&[]), log);
        report_calls(allow_only(Calls::Parse, OnEscape::Fail), log);
        Ok(work())
    })
}

fn in_thread<T: Send>(work: impl FnOnce() -> Result<T, RightsError> + Send) -> Result<T, RightsError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("reading".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(RightsError::Thread)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn report_files(restricted: Result<bool, impl Error>, log: &Log) {
    let reason = match restricted {
        Ok(true) => return,
        Ok(false) => NO_LANDLOCK.to_owned(),
        Err(error) => chain(&error),
    };
    missing::record(format!("create, write and remove files that root owns: {reason}"), log);
}

fn report_calls(restricted: Result<(), impl Error>, log: &Log) {
    if let Err(error) = restricted {
        missing::record(format!("use all system calls: {}", chain(&error)), log);
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
