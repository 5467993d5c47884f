//! Restricts the calling thread, and everything that it starts from then on: capabilities, files (Landlock) and system
//! calls (seccomp).
//!
//! A restriction is never lifted, and none adds a right. What the kernel lacks is reported, not ignored: the caller
//! decides whether to run without it.

#![warn(missing_docs)]

mod capabilities;
pub mod files;
pub mod system_calls;
mod worker;

pub use capabilities::{CapabilityError, keep_capabilities};
pub use worker::{WorkerError, detach, drop_rights};

/// Why a kernel does not enforce [`files`]' rules.
pub const NO_LANDLOCK: &str =
    "this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, and landlock in lsm= on its command line)";
