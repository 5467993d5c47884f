//! How long everything that waits may wait.
//!
//! The contract's times are minutes; a test that sees a run give up can not wait that long.

use std::time::Duration;

/// For tests only: all waits and limits are divided by this number.
const HASTE_VARIABLE: &str = "COREOS_CLOUDINIT_TEST_HASTE";
const MOST_HASTE: u32 = 1000;

/// `time`, or less where a test is in haste.
pub(super) fn paced(time: Duration) -> Duration {
    let haste = std::env::var(HASTE_VARIABLE).ok().and_then(|text| text.parse::<u32>().ok());
    time / haste.unwrap_or(1).clamp(1, MOST_HASTE)
}
