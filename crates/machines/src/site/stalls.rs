//! Emulated machines whose processor has lost its timer.
//!
//! Now and then QEMU's emulation on a busy host (seen once in about a hundred boots, load 9 on 2 cores) stops
//! giving a processor its timer interrupts. The guest's kernel said so, and hung until its deadline; whether it
//! would have come back is not known, and this reset has not been needed since. A kernel at fault would say the same under KVM, where nothing is done.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::console;

/// What the kernel says of it on the console.
const SIGN: &str = "Possible timer handling issue";
/// How often the console is read.
const PAUSE: Duration = Duration::from_secs(2);
/// After as many resets it is something else.
const RESETS_MAX: u32 = 2;

#[derive(Debug)]
pub struct Stalls {
    console: PathBuf,
    /// Length of the log when it last was clean.
    from: u64,
    looked: Instant,
    resets: u32,
}

impl Stalls {
    pub fn from_now(console: &Path) -> Self {
        Self { console: console.to_path_buf(), from: length(console), looked: Instant::now(), resets: 0 }
    }

    /// Whether the console tells of another stall, for which the machine is to be reset.
    pub fn another(&mut self) -> bool {
        if self.looked.elapsed() < PAUSE || self.resets == RESETS_MAX {
            return false;
        }
        self.looked = Instant::now();
        if !console::shown_from(&self.console, self.from).contains(SIGN) {
            return false;
        }
        self.from = length(&self.console);
        self.resets += 1;
        true
    }

    /// Leaves word in the machine's log that it was reset, or why it could not be.
    pub fn note<E: Display>(&self, log: &Path, reset: Result<(), E>) {
        let done =
            reset.map_or_else(|error| format!("and can not be reset: {error}"), |()| "and was reset".into());
        let written = File::options().create(true).append(true).open(log).and_then(|mut file| {
            writeln!(file, "keelson: the emulated processor lost its timer (the console tells), {done}")
        });
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

    #[test]
    fn each_stall_counts_once_and_old_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let console = folder.path().join("console.log");
        let write = |text: &str| {
            let mut file = File::options().create(true).append(true).open(&console).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        write("[ 1.0] rcu: Possible timer handling issue on cpu=0\r\n");
        let mut stalls = Stalls::from_now(&console);
        let mut another = || {
            // As if the pause was over.
            stalls.looked = Instant::now().checked_sub(PAUSE).unwrap();
            stalls.another()
        };
        assert!(!another(), "of the boot before");
        write("quiet\r\n");
        assert!(!another());
        for expected in [true, true, false] {
            write("rcu: Possible timer handling issue on cpu=1\r\n");
            assert_eq!(another(), expected);
            assert!(!another(), "the same again");
        }
    }
}
