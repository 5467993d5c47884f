//! End-to-end scenarios on whole machines, on QEMU and nspawn.
//!
//! Each scenario boots its own machines. A failed scenario keeps their journals, consoles and disks in a folder
//! that its report names. A scenario is skipped, never passed, if its back end cannot run on the host.

mod calibration;
mod failure;
mod own_image;
mod runner;
mod scenario;
mod scenarios;
mod signing;
mod slowdown;

pub use failure::Failure;
pub use runner::run;
pub use scenario::{Context, Outcome, Run, Scenario};
pub use scenarios::ALL;
