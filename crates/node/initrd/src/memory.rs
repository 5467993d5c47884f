//! Size of the machine's memory, and what the kernel reserves of it.

use std::fs;
use std::path::Path;

use crate::kernel_log;
use crate::mounts;

/// The kernel keeps 44 MiB free for huge pages on any machine, too much below this size, in KiB.
const SMALL: u64 = 2 << 20;
/// Read by systemd-sysctl. Files with a later name, and in `/etc`, override it.
const SETTINGS: &str = "/run/sysctl.d/50-keelson-small-memory.conf";
const SMALL_RESERVE: &str = "vm.min_free_kbytes = 16384\n";

/// The total of `/proc/meminfo`, in KiB.
pub fn total(meminfo: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse().ok();
    meminfo.lines().find_map(value)
}

/// Has a small machine reserve less. A failure costs only memory.
pub fn lower_reserve() {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if let Some(Err(error)) = settings(&meminfo).map(|text| mounts::write_file(Path::new(SETTINGS), text)) {
        kernel_log::warning(&service::error::chain(&error));
    }
}

fn settings(meminfo: &str) -> Option<&'static str> {
    total(meminfo).filter(|kib| *kib < SMALL).map(|_| SMALL_RESERVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_machine_reserves_less() {
        let settings = |kib: u64| settings(&format!("MemFree: 7 kB\nMemTotal:  {kib} kB\n"));
        assert_eq!(settings(SMALL - 1), Some(SMALL_RESERVE));
        assert_eq!(settings(SMALL), None);
        assert_eq!(super::settings(""), None);
    }
}
