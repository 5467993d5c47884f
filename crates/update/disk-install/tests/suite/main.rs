//! Disks that are written, kept and cut off.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::unwrap_used)]

mod kept_partitions;
mod loop_device;
mod power_cut;
mod recording;
