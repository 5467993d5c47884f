//! The log on simulated and real disks.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::expect_used)]

mod crash;
mod damage;
mod faults;
mod oracle;
mod read_only;
mod real_disk;
