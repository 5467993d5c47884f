//! Capabilities.

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;

/// Why capabilities cannot be dropped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum CapabilityError {
    #[error("cannot drop capabilities")]
    Capabilities(#[from] CapsError),
    #[error("cannot set no_new_privs")]
    NewPrivileges(#[from] Errno),
}

/// Keeps at most these capabilities of the thread, in effect. No program gives it others.
///
/// # Errors
/// The kernel or a filter of system calls refuses.
pub fn keep_capabilities(requested: &[Capability]) -> Result<(), CapabilityError> {
    let current = caps::read(None, CapSet::Permitted)?;
    let kept: CapsHashSet =
        requested.iter().copied().filter(|capability| current.contains(capability)).collect();
    // Otherwise a program that root starts regains all capabilities.
    prctl::set_no_new_privs()?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}
