//! The beginning of a child process that handles bytes of others: nothing of its parent remains but its standard streams.

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Gid, Pid, Uid, getppid, setgroups, setresgid, setresuid};

use crate::capabilities::{CapabilityError, keep_capabilities};

const NOBODY: u32 = 65534;

/// Why a process is not isolated.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum WorkerError {
    #[error("cannot {0}")]
    System(&'static str, #[source] Errno),
    #[error("cannot drop capabilities")]
    Capabilities(#[from] CapabilityError),
    #[error("the parent has exited")]
    Orphaned,
}

/// Closes all files but the standard streams, and ignores signals that stop a parent: its end is the child's. Before the
/// process opens a file.
///
/// # Errors
/// The kernel refuses.
pub fn detach() -> Result<(), WorkerError> {
    close_inherited_files().map_err(|error| WorkerError::System("close inherited files", error))?;
    ignore_stop_signals().map_err(|error| WorkerError::System("ignore signals", error))
}

/// Becomes user `nobody` where it may, keeps no capability, and ends with the thread that started it. For a process without
/// other threads, before [`crate::files`] and [`crate::system_calls`].
///
/// # Errors
/// The kernel refuses, or the process `parent` is not the parent any more.
pub fn drop_rights(parent: Pid) -> Result<(), WorkerError> {
    drop_user().map_err(|error| WorkerError::System("change the user", error))?;
    keep_capabilities(&[])?;
    // After the user changed, which resets both.
    prctl::set_dumpable(false).map_err(|error| WorkerError::System("hide the memory", error))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|error| WorkerError::System("follow the parent", error))?;
    if getppid() == parent { Ok(()) } else { Err(WorkerError::Orphaned) }
}

#[allow(unsafe_code, reason = "close_range has no safe wrapper")]
fn close_inherited_files() -> Result<(), Errno> {
    // SAFETY: the process has opened no file yet that it could use after this.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    Errno::result(result).map(drop)
}

#[allow(unsafe_code, reason = "signal actions are process-wide")]
fn ignore_stop_signals() -> Result<(), Errno> {
    for stop in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: no handler runs.
        unsafe { signal(stop, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// A filter of system calls may end the process where it may not change its user.
fn drop_user() -> Result<(), Errno> {
    let may = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    if !may(Capability::CAP_SETUID) || !may(Capability::CAP_SETGID) {
        return Ok(());
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let changed = setgroups(&[])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user));
    match changed {
        // A user namespace without that user, or with fixed groups.
        Err(Errno::EINVAL | Errno::EPERM) => Ok(()),
        changed => changed,
    }
}
