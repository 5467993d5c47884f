//! The QEMU process of a cluster's first machine, and its cost so far.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Unit of processor and start times in `/proc`: USER_HZ, 100 on current Linux systems.
const TICKS_IN_A_SECOND: f64 = 100.0;

/// Seconds since the process started: processor time (user and system), and elapsed time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    pub processor: f64,
    pub time: f64,
}

impl Cost {
    /// `None` if the process does not exist.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        Self::parse(&stat, &uptime)
    }

    fn parse(stat: &str, uptime: &str) -> Option<Self> {
        // Fields are counted after the name, which may contain spaces: the state is field 3; user, system and start
        // time are 14, 15 and 22.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS_IN_A_SECOND);
        let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        Some(Self { processor: seconds(11)? + seconds(12)?, time: uptime - seconds(19)? })
    }
}

/// Description of a node's running guest, in the node's folder.
const GUEST: &str = "guest.json";

/// A running machine, as the cluster's files describe it.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// QEMU's.
    pub pid: i32,
    /// Port on 127.0.0.1, forwarded to the machine's port 22.
    pub ssh_port: u16,
}

impl Machine {
    /// `None` until the machine has started.
    pub fn read(cluster: &Path) -> Option<Self> {
        let read = |file: &Path| -> Option<Value> { serde_json::from_slice(&fs::read(file).ok()?).ok() };
        let state = read(&cluster.join("cluster.json"))?;
        let node = &state["nodes"][0];
        // The recorded process is QEMU's supervisor. A guest of an earlier start has no process there.
        node["process"]["pid"].as_i64()?;
        let guest = read(&cluster.join(node["name"].as_str()?).join(GUEST))?;
        let pid = i32::try_from(guest["process"]["pid"].as_i64()?).ok()?;
        Some(Self { pid, ssh_port: u16::try_from(node["ssh_port"].as_u64()?).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_cost_is_read() {
        let stat = "7 (a b) S 1 7 7 0 -1 4 9 9 9 9 150 50 9 9 20 0 3 0 1000 9 9";
        let cost = Cost::parse(stat, "12.50 20.00\n").unwrap();
        assert_eq!(cost, Cost { processor: 2.0, time: 2.5 });
        assert_eq!(Cost::parse("7 (a", "12.50 20.00"), None);
    }

    #[test]
    fn work_costs_processor_time() {
        let pid = std::process::id().cast_signed();
        let before = Cost::of(pid).unwrap().processor;
        let begun = Instant::now();
        let mut sum = 0u64;
        while begun.elapsed() < Duration::from_millis(200) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = Cost::of(pid).unwrap().processor - before;
        assert!(used > 0.02, "{used}");
    }

    #[test]
    fn a_machine_is_read_once_it_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join("cluster.json"), text).unwrap();
            Machine::read(folder.path()).map(|machine| (machine.pid, machine.ssh_port))
        };
        assert!(Machine::read(folder.path()).is_none());
        let state =
            |process: &str| format!(r#"{{"nodes":[{{"name":"a","ssh_port":2222,"process":{process}}}]}}"#);
        let running = state(r#"{"pid":7,"started":1}"#);
        assert_eq!(read(&running), None);
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a").join(GUEST), r#"{"process":{"pid":8,"started":1},"warnings":[]}"#)
            .unwrap();
        assert_eq!(read(&running), Some((8, 2222)));
        assert_eq!(read(&state("null")), None);
    }
}
