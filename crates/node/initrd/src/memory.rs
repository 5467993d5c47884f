//! Size of the machine's memory, and what the kernel reserves of it.

use std::fs;
use std::path::Path;

use crate::kernel_log;
use crate::mounts;

/// The kernel keeps 44 MiB free for huge pages on any machine, too much below this size, in KiB.
const SMALL: u64 = 2 << 20;
/// Read by systemd-sysctl. A file with a later name, or with this name in `/etc/sysctl.d`, overrides it.
const SETTINGS: &str = "/run/sysctl.d/50-keelson-small-memory.conf";
const SMALL_RESERVE: &str = "vm.min_free_kbytes = 16384\n";

/// The total of `/proc/meminfo`, in KiB.
pub fn total(meminfo: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok();
    meminfo.lines().find_map(value)
}

/// Has a small machine reserve less. A failure costs only memory.
pub fn lower_reserve() {
    if !is_small(&fs::read_to_string("/proc/meminfo").unwrap_or_default()) {
        return;
    }
    if let Err(error) = mounts::write_file(Path::new(SETTINGS), SMALL_RESERVE) {
        kernel_log::warning(&service::error::chain(&error));
    }
}

fn is_small(meminfo: &str) -> bool {
    total(meminfo).is_some_and(|kib| kib < SMALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_machine_reserves_less() {
        let is_small = |kib: u64| is_small(&format!("MemFree: 7 kB\nMemTotal:  {kib} kB\n"));
        assert!(is_small(SMALL - 1) && !is_small(SMALL));
        assert!(!super::is_small(""));
    }
}
