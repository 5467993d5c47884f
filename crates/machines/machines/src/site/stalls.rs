//! Emulated machines whose boot stands still.
//!
//! Now and then QEMU's emulation on a busy host stops giving a processor its timer interrupts. Once, in about a
//! hundred boots (load 9 on 2 cores), the guest's kernel said so and hung; once, in some hundred more, a machine that
//! had rebooted said nothing at all behind the firmware's last line, for seven minutes. Nobody knows more of it: so
//! such a machine is reset, and what its processors were at is written down first. A system at fault would stand
//! still under KVM too, where nothing is done.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::console;

/// What the kernel says of it on the console. With the second one a boot went on after nine minutes (2026-11-23, load 12).
const SIGNS: [&str; 2] = ["Possible timer handling issue", "rcu_preempt kthread starved"];
/// The firmware's last line. Behind it all is quiet until systemd runs in the initrd.
const HANDED_OVER: &str = "BdsDxe: starting Boot";
/// A dozen times what it takes from there to the next word, when the host does nothing else.
const SILENCE: Duration = Duration::from_secs(120);
/// How often the console is read.
const PAUSE: Duration = Duration::from_secs(2);
/// After as many resets it is something else.
const RESETS_MAX: u32 = 2;

/// What shows that a boot stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The kernel says that a timer does not come.
    LostTimer,
    /// Nothing was said since the firmware gave the machine away.
    Silent,
}

#[derive(Debug)]
pub struct Stalls {
    console: PathBuf,
    /// Length of the log when it last was clean.
    from: u64,
    /// Its length at the last look, and since when.
    length: (u64, Instant),
    looked: Instant,
    resets: u32,
}

impl Stalls {
    pub fn from_now(console: &Path) -> Self {
        let (from, now) = (length(console), Instant::now());
        Self { console: console.to_path_buf(), from, length: (from, now), looked: now, resets: 0 }
    }

    /// Whether the machine stands still once more, and is to be reset for it.
    pub fn another(&mut self) -> Option<Stall> {
        if self.looked.elapsed() < PAUSE || self.resets == RESETS_MAX {
            return None;
        }
        self.looked = Instant::now();
        let length = length(&self.console);
        if length != self.length.0 {
            self.length = (length, self.looked);
        }
        let shown = console::shown_from(&self.console, self.from);
        let stall = if SIGNS.iter().any(|sign| shown.contains(sign)) {
            Stall::LostTimer
        } else if self.length.1.elapsed() >= SILENCE && self.is_handed_over() {
            Stall::Silent
        } else {
            return None;
        };
        self.from = length;
        self.length.1 = self.looked;
        self.resets += 1;
        Some(stall)
    }

    fn is_handed_over(&self) -> bool {
        console::tail(&self.console, 1).iter().any(|line| line.starts_with(HANDED_OVER))
    }
}

impl Stall {
    /// Leaves word in the machine's log that it was reset, or why it could not be, and what its processors were at.
    pub fn note<E: Display>(self, log: &Path, processors: Option<&str>, reset: Result<(), E>) {
        let what = match self {
            Self::LostTimer => "the emulated processor lost its timer (the console tells)".to_owned(),
            Self::Silent => {
                format!("said nothing for {} s since the firmware's last line", SILENCE.as_secs())
            }
        };
        let done =
            reset.map_or_else(|error| format!("and cannot be reset: {error}"), |()| "and was reset".into());
        let processors = processors.unwrap_or_default().replace('\r', "");
        let written = File::options()
            .create(true)
            .append(true)
            .open(log)
            .and_then(|mut file| writeln!(file, "keelson: {what}, {done}\n{}", processors.trim_end()));
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

    /// As if the pause was over, and so much more time.
    fn look_after(stalls: &mut Stalls, time: Duration) -> Option<Stall> {
        let back = |at: Instant| at.checked_sub(PAUSE + time).unwrap();
        stalls.looked = back(stalls.looked);
        stalls.length.1 = back(stalls.length.1);
        stalls.another()
    }

    #[test]
    fn each_lost_timer_counts_once_and_old_ones_do_not() {
        let console = Console::new();
        console.write("[ 1.0] rcu: Possible timer handling issue on cpu=0\r\n");
        let mut stalls = Stalls::from_now(&console.log());
        let mut another = || look_after(&mut stalls, Duration::ZERO);
        assert_eq!(another(), None, "of the boot before");
        console.write("quiet\r\n");
        assert_eq!(another(), None);
        let lines =
            ["Possible timer handling issue on cpu=1", "rcu_preempt kthread starved for 13819 jiffies!"];
        for (line, expected) in
            [(lines[0], Some(Stall::LostTimer)), (lines[1], Some(Stall::LostTimer)), (lines[0], None)]
        {
            console.write(&format!("rcu: {line}\r\n"));
            assert_eq!(another(), expected);
            assert_eq!(another(), None, "the same again");
        }
    }

    #[test]
    fn silence_counts_behind_the_firmware_s_last_line_only() {
        let console = Console::new();
        console.write("core-01 login: \r\n");
        let mut stalls = Stalls::from_now(&console.log());
        let half = SILENCE / 2;
        for _ in 0..3 {
            assert_eq!(look_after(&mut stalls, half), None, "a machine that is up may be quiet");
        }
        console.write("BdsDxe: starting Boot0001 \"UEFI Misc Device\" from PciRoot(0x0)\r\n");
        assert_eq!(look_after(&mut stalls, half), None, "this is new");
        assert_eq!(look_after(&mut stalls, half), None, "not long enough");
        assert_eq!(look_after(&mut stalls, half), Some(Stall::Silent));
        assert_eq!(look_after(&mut stalls, half), None, "it has just been reset");
        console.write("\x1b[!p\x1b[6n[ 1.0] systemd[1]: running\r\n");
        for _ in 0..3 {
            assert_eq!(look_after(&mut stalls, half), None, "it says something");
        }
    }

    #[test]
    fn what_was_seen_is_in_the_machine_s_log() {
        let log = Console::new();
        Stall::Silent.note(&log.log(), Some("CPU#0\r\nRIP=1\r\n"), Err::<(), _>("no socket"));
        Stall::LostTimer.note(&log.log(), None, Ok::<(), String>(()));
        let text = std::fs::read_to_string(log.log()).unwrap();
        assert!(text.starts_with("keelson: said nothing for 120 s"), "{text}");
        assert!(text.contains("and cannot be reset: no socket\nCPU#0\nRIP=1\n"), "{text}");
        assert!(text.contains("lost its timer (the console tells), and was reset\n"), "{text}");
    }
}
