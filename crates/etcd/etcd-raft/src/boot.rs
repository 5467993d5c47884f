//! The machine's boot id.

use std::fs;

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Identifies the current boot. Random where the kernel provides none: every start counts as another boot then.
pub fn id() -> u128 {
    let boot = fs::read_to_string(BOOT).ok();
    let boot = boot.and_then(|boot| u128::from_str_radix(&boot.trim().replace('-', ""), 16).ok());
    boot.unwrap_or_else(rand::random)
}
