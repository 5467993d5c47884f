//! Resource usage of this process from /proc; zero if unavailable.

use std::fs;

/// A sample of resource usage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) open_files: u64,
    pub(crate) file_limit: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    /// Unix time in seconds.
    pub(crate) started: f64,
}

impl Usage {
    pub(crate) fn now() -> Usage {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let stat_text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").map_or(0, |list| list.count() as u64);
        let file_limit =
            rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let page = rustix::param::page_size() as u64;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        Usage { open_files, file_limit, ..Usage::parse(&stat, &stat_text, page, ticks) }
    }

    fn parse(stat: &str, stat_text: &str, page: u64, ticks: f64) -> Usage {
        // The second field is the program's name in parentheses, with arbitrary bytes.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let booted = stat_text.lines().find_map(|line| line.strip_prefix("btime "));
        let booted = booted.and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(0.0);
        Usage {
            cpu_seconds: (number(11) + number(12)) as f64 / ticks,
            started: booted + number(19) as f64 / ticks,
            virtual_bytes: number(20),
            resident_bytes: number(21) * page,
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_parentheses_in_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 900 8192000 25 1844\n";
        let usage = Usage::parse(stat, "cpu 1\nbtime 1000\n", 4096, 100.0);
        assert_eq!(usage.cpu_seconds, 2.0);
        assert_eq!(usage.started, 1009.0);
        assert_eq!(usage.virtual_bytes, 8_192_000);
        assert_eq!(usage.resident_bytes, 25 * 4096);
    }

    #[test]
    fn now_is_plausible() {
        let usage = Usage::now();
        assert!(usage.open_files >= 3 && usage.resident_bytes > 100_000 && usage.started > 1e9, "{usage:?}");
    }
}
