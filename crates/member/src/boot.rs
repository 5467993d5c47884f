//! Which run of the machine this is.

use std::fs;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Tells one run of the machine from the next. Where the machine does not say it, no two starts are of one run.
pub fn id() -> u128 {
    let boot = fs::read_to_string(BOOT).ok();
    let boot = boot.and_then(|boot| u128::from_str_radix(&boot.trim().replace('-', ""), 16).ok());
    boot.unwrap_or_else(rand::random)
}
