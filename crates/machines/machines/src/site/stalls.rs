//! Detects emulated machines whose boot has stalled, and resets them.
//!
//! On a busy host QEMU's TCG occasionally stops delivering timer interrupts to a processor. The kernel then reports
//! lost timers or the console stays silent after the firmware. The cause is unknown, so the processor registers are
//! logged before the reset. Under KVM no reset is done: there a stall is a fault of the system.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::processor_use::Interval;
use crate::{console, limits};

/// Kernel messages of a lost timer. After the second one boots may continue only minutes later.
const LOST_TIMER_MESSAGES: [&str; 2] = ["Possible timer handling issue", "rcu_preempt kthread starved"];
/// The firmware's last line. No other follows until the login prompt.
const FIRMWARE_LAST_LINE: &str = "BdsDxe: starting Boot";
/// How long a machine may wait silently after it. One that its host delays does not wait.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Further stalls are not due to lost timers.
const RESETS_MAX: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The kernel reports a lost timer.
    LostTimer,
    /// No output since the firmware handed over, and the machine waits.
    Idle,
    /// No output since the firmware handed over, in more processor time than a boot takes.
    Busy,
}

#[derive(Debug)]
pub struct StallDetector {
    console: PathBuf,
    /// Length of the log at the last reset or start.
    clean_length: u64,
    length: u64,
    /// Since the last output: how long the machine has waited now, and the processor time that it used.
    idle: Duration,
    used: Duration,
    resets: u32,
}

impl StallDetector {
    pub fn from_now(console: &Path) -> Self {
        let clean_length = length(console);
        Self {
            console: console.to_path_buf(),
            clean_length,
            length: clean_length,
            idle: Duration::ZERO,
            used: Duration::ZERO,
            resets: 0,
        }
    }

    /// Returns a stall if the machine is to be reset. `interval` follows that of the last call.
    pub fn check(&mut self, interval: Interval) -> Option<Stall> {
        if self.resets == RESETS_MAX {
            return None;
        }
        let length = length(&self.console);
        if length != self.length {
            self.length = length;
            (self.idle, self.used) = (Duration::ZERO, Duration::ZERO);
        } else {
            self.idle = if interval.is_busy() { Duration::ZERO } else { self.idle + interval.elapsed };
            self.used += interval.used;
        }
        let text = console::text_from(&self.console, self.clean_length);
        let stall = if LOST_TIMER_MESSAGES.iter().any(|sign| text.contains(sign)) {
            Stall::LostTimer
        } else if self.idle >= IDLE_MAX && self.firmware_has_finished() {
            Stall::Idle
        } else if self.used >= limits::CPU_SILENT_MAX && self.firmware_has_finished() {
            Stall::Busy
        } else {
            return None;
        };
        self.clean_length = length;
        (self.idle, self.used) = (Duration::ZERO, Duration::ZERO);
        self.resets += 1;
        Some(stall)
    }

    fn firmware_has_finished(&self) -> bool {
        console::tail(&self.console, 1).iter().any(|line| line.starts_with(FIRMWARE_LAST_LINE))
    }
}

impl Stall {
    /// Logs the reset, or why it failed, and the processor registers to the machine's log.
    pub fn log_reset<E: Display>(self, log: &Path, processors: Option<&str>, reset: Result<(), E>) {
        let cause = match self {
            Self::LostTimer => "the emulated processor lost its timer (see the console)".to_owned(),
            Self::Idle => {
                format!("idle without output for {} s after the firmware's last line", IDLE_MAX.as_secs())
            }
            Self::Busy => {
                let limit = limits::CPU_SILENT_MAX.as_secs();
                format!("no output after the firmware's last line in {limit} s of processor time")
            }
        };
        let done = reset.map_or_else(
            |error| format!("the machine cannot be reset: {error}"),
            |()| "the machine was reset".into(),
        );
        let processors = processors.unwrap_or_default().replace('\r', "");
        let written = File::options()
            .create(true)
            .append(true)
            .open(log)
            .and_then(|mut file| writeln!(file, "keelson: {cause}; {done}\n{}", processors.trim_end()));
        if let Err(error) = written {
            eprintln!("{}: {error}", log.display());
        }
    }
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Console(tempfile::TempDir);

    impl Console {
        fn new() -> Console {
            Console(tempfile::tempdir().unwrap())
        }

        fn log(&self) -> PathBuf {
            self.0.path().join("console.log")
        }

        fn write(&self, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.log()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    /// An interval of `seconds`, with these shares used and waited for.
    fn interval(seconds: u64, used: f64, delayed: f64) -> Interval {
        let elapsed = Duration::from_secs(seconds);
        Interval { elapsed, used: elapsed.mul_f64(used), delayed: elapsed.mul_f64(delayed) }
    }

    #[test]
    fn each_lost_timer_is_reported_once() {
        let console = Console::new();
        console.write("[ 1.0] rcu: Possible timer handling issue on cpu=0\r\n");
        let mut stalls = StallDetector::from_now(&console.log());
        let mut check = || stalls.check(interval(5, 0.5, 0.0));
        assert_eq!(check(), None, "of the boot before");
        console.write("quiet\r\n");
        assert_eq!(check(), None);
        let lines =
            ["Possible timer handling issue on cpu=1", "rcu_preempt kthread starved for 13819 jiffies!"];
        for (line, expected) in
            [(lines[0], Some(Stall::LostTimer)), (lines[1], Some(Stall::LostTimer)), (lines[0], None)]
        {
            console.write(&format!("rcu: {line}\r\n"));
            assert_eq!(check(), expected);
            assert_eq!(check(), None, "the same again");
        }
    }

    #[test]
    fn waiting_silently_counts_only_after_the_firmware() {
        let console = Console::new();
        console.write("core-01 login: \r\n");
        let mut stalls = StallDetector::from_now(&console.log());
        let half = IDLE_MAX.as_secs() / 2;
        let mut wait = || stalls.check(interval(half, 0.02, 0.02));
        for _ in 0..3 {
            assert_eq!(wait(), None, "a machine that is up may be quiet");
        }
        console.write("BdsDxe: starting Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)\r\n");
        assert_eq!(wait(), None, "this is new");
        assert_eq!(wait(), None, "not long enough");
        assert_eq!(wait(), Some(Stall::Idle));
        assert_eq!(wait(), None, "it has just been reset");
        console.write("\x1b[!p\x1b[6n[ 1.0] systemd[1]: running\r\n");
        for _ in 0..3 {
            assert_eq!(wait(), None, "it says something");
        }
    }

    /// Three machines at a quarter of a processor each were reset, twice each.
    #[test]
    fn a_slow_host_is_no_stall() {
        let console = Console::new();
        let mut stalls = StallDetector::from_now(&console.log());
        console.write("BdsDxe: starting Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)\r\n");
        let slow = interval(10, 0.05, 0.9);
        assert_eq!(stalls.check(slow), None);
        let waits = u64::try_from(limits::CPU_SILENT_MAX.as_millis()).unwrap() / 500;
        for _ in 1..waits {
            assert_eq!(stalls.check(slow), None);
        }
        assert_eq!(stalls.check(slow), Some(Stall::Busy), "no boot takes that long");
    }

    #[test]
    fn a_reset_is_logged() {
        let log = Console::new();
        Stall::Idle.log_reset(&log.log(), Some("CPU#0\r\nRIP=1\r\n"), Err::<(), _>("no socket"));
        Stall::LostTimer.log_reset(&log.log(), None, Ok::<(), String>(()));
        let text = std::fs::read_to_string(log.log()).unwrap();
        assert!(text.starts_with("keelson: idle without output for 120 s"), "{text}");
        assert!(text.contains("the machine cannot be reset: no socket\nCPU#0\nRIP=1\n"), "{text}");
        assert!(text.contains("lost its timer (see the console); the machine was reset\n"), "{text}");
    }
}
