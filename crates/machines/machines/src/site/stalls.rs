//! Detects emulated machines whose boot has stalled, and resets them.
//!
//! On a busy host QEMU's TCG occasionally stops delivering timer interrupts to a processor. The kernel then reports
//! lost timers or the console stays silent after the firmware. The cause is unknown, so the processor registers are
//! logged before the reset. Under KVM no reset is done: there a stall is a fault of the system.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::console;

/// Kernel messages of a lost timer. After the second one boots may continue only minutes later.
const LOST_TIMER_MESSAGES: [&str; 2] = ["Possible timer handling issue", "rcu_preempt kthread starved"];
/// The firmware's last line. The console is silent after it until systemd runs in the initrd.
const FIRMWARE_LAST_LINE: &str = "BdsDxe: starting Boot";
/// About twelve times the usual silence on an idle host.
const SILENCE: Duration = Duration::from_secs(120);
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Further stalls are not due to lost timers.
const RESETS_MAX: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The kernel reports a lost timer.
    LostTimer,
    /// No output since the firmware handed over.
    Silent,
}

#[derive(Debug)]
pub struct StallDetector {
    console: PathBuf,
    /// Length of the log at the last reset or start.
    clean_length: u64,
    /// Last observed length, and since when.
    length: (u64, Instant),
    checked_at: Instant,
    resets: u32,
}

impl StallDetector {
    pub fn from_now(console: &Path) -> Self {
        let (clean_length, now) = (length(console), Instant::now());
        Self {
            console: console.to_path_buf(),
            clean_length,
            length: (clean_length, now),
            checked_at: now,
            resets: 0,
        }
    }

    /// Returns a stall if the machine is to be reset.
    pub fn check(&mut self) -> Option<Stall> {
        if self.checked_at.elapsed() < CHECK_INTERVAL || self.resets == RESETS_MAX {
            return None;
        }
        self.checked_at = Instant::now();
        let length = length(&self.console);
        if length != self.length.0 {
            self.length = (length, self.checked_at);
        }
        let text = console::text_from(&self.console, self.clean_length);
        let stall = if LOST_TIMER_MESSAGES.iter().any(|sign| text.contains(sign)) {
            Stall::LostTimer
        } else if self.length.1.elapsed() >= SILENCE && self.firmware_has_finished() {
            Stall::Silent
        } else {
            return None;
        };
        self.clean_length = length;
        self.length.1 = self.checked_at;
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
            Self::Silent => {
                format!("no output for {} s after the firmware's last line", SILENCE.as_secs())
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

    /// Simulates that the check interval and `time` have passed.
    fn check_after(stalls: &mut StallDetector, time: Duration) -> Option<Stall> {
        let back = |at: Instant| at.checked_sub(CHECK_INTERVAL + time).unwrap();
        stalls.checked_at = back(stalls.checked_at);
        stalls.length.1 = back(stalls.length.1);
        stalls.check()
    }

    #[test]
    fn each_lost_timer_is_reported_once() {
        let console = Console::new();
        console.write("[ 1.0] rcu: Possible timer handling issue on cpu=0\r\n");
        let mut stalls = StallDetector::from_now(&console.log());
        let mut check = || check_after(&mut stalls, Duration::ZERO);
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
    fn silence_counts_only_after_the_firmware() {
        let console = Console::new();
        console.write("core-01 login: \r\n");
        let mut stalls = StallDetector::from_now(&console.log());
        let half = SILENCE / 2;
        for _ in 0..3 {
            assert_eq!(check_after(&mut stalls, half), None, "a machine that is up may be quiet");
        }
        console.write("BdsDxe: starting Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)\r\n");
        assert_eq!(check_after(&mut stalls, half), None, "this is new");
        assert_eq!(check_after(&mut stalls, half), None, "not long enough");
        assert_eq!(check_after(&mut stalls, half), Some(Stall::Silent));
        assert_eq!(check_after(&mut stalls, half), None, "it has just been reset");
        console.write("\x1b[!p\x1b[6n[ 1.0] systemd[1]: running\r\n");
        for _ in 0..3 {
            assert_eq!(check_after(&mut stalls, half), None, "it says something");
        }
    }

    #[test]
    fn a_reset_is_logged() {
        let log = Console::new();
        Stall::Silent.log_reset(&log.log(), Some("CPU#0\r\nRIP=1\r\n"), Err::<(), _>("no socket"));
        Stall::LostTimer.log_reset(&log.log(), None, Ok::<(), String>(()));
        let text = std::fs::read_to_string(log.log()).unwrap();
        assert!(text.starts_with("keelson: no output for 120 s"), "{text}");
        assert!(text.contains("the machine cannot be reset: no socket\nCPU#0\nRIP=1\n"), "{text}");
        assert!(text.contains("lost its timer (see the console); the machine was reset\n"), "{text}");
    }
}
