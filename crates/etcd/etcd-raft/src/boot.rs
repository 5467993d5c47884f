//! The boot id of the machine.

use std::fs;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Identifies the current boot. Without a boot id from the kernel it is random, so each start counts as a new boot.
pub fn id() -> u128 {
    let boot = fs::read_to_string(BOOT).ok();
    let boot = boot.and_then(|boot| u128::from_str_radix(&boot.trim().replace('-', ""), 16).ok());
    boot.unwrap_or_else(rand::random)
}
