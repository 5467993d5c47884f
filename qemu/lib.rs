//! Scenarios: what whole machines have to do, as short functions that run on QEMU and on nspawn.
//!
//! Each scenario has machines of its own. One that fails keeps their journals, consoles and disks in a
//! folder that it names. A back end that cannot run on a host makes a scenario skipped, never passed.

mod calibration;
mod failure;
mod runner;
mod scenario;
mod scenarios;
mod signing;
mod slowdown;

pub use failure::Failure;
pub use runner::run;
pub use scenario::{Outcome, Run, Scenario, Stage};
pub use scenarios::ALL;
