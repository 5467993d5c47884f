//! The console output of a node, and a terminal attached to its console.
//!
//! QEMU or the nspawn supervisor writes the log; this module only reads it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, Termios};

use crate::limits;

/// The key that detaches the terminal: Ctrl-].
pub const LEAVE: u8 = 0x1d;

/// The last `lines` non-empty lines of a log, without control sequences.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> Vec<String> {
    let text = plain(&tail_bytes(log).unwrap_or_default());
    let mut last: Vec<String> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(lines).map(str::to_owned).collect();
    last.reverse();
    last
}

fn tail_bytes(log: &Path) -> io::Result<Vec<u8>> {
    bytes_from(log, 0)
}

/// The content from offset `from`, limited to the last `TAIL_BYTES`.
fn bytes_from(log: &Path, from: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limits::TAIL_BYTES).max(from)))?;
    let mut bytes = Vec::new();
    file.take(limits::TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text from offset `from`, without control sequences, limited to the last `TAIL_BYTES`.
#[must_use]
pub fn text_from(log: &Path, from: u64) -> String {
    plain(&bytes_from(log, from).unwrap_or_default())
}

/// The soft reset of the terminal with which systemd takes over the console.
const SYSTEMD_RESET: &str = "\u{1b}[!p";

/// Boot phase according to the console output since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Firmware,
    /// The boot image runs; it prints nothing unless there is an error.
    Kernel,
    /// systemd runs; it prints nothing unless a unit is slow or fails. Reports begin once the system bus runs.
    Systemd,
    /// The login prompt is shown; the last services are starting.
    Login,
}

impl Phase {
    /// `from` is the length of the log when the machine was powered on.
    #[must_use]
    pub fn of(log: &Path, from: u64) -> Self {
        let bytes = bytes_from(log, from).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // The last boot's: a machine that was reset begins again.
        let after_firmware = text.rsplit_once("BdsDxe: starting").map(|(_, boot)| boot);
        let boot = after_firmware.unwrap_or(&text);
        if boot.contains("login:") {
            Self::Login
        } else if boot.contains(SYSTEMD_RESET) {
            Self::Systemd
        } else if after_firmware.is_some() || boot.contains("systemd") {
            Self::Kernel
        } else {
            Self::Firmware
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Firmware => "firmware",
            Self::Kernel => "kernel and initrd",
            Self::Systemd => "first units",
            Self::Login => "last services",
        })
    }
}

/// The unit or device that systemd last reported to wait for.
#[must_use]
pub fn pending_job(log: &Path) -> Option<String> {
    let text = plain(&tail_bytes(log).unwrap_or_default());
    text.lines().rev().find_map(parse_job)
}

/// `A start job is running for X (12s / 1min)` and `Job X/start running (12s / no limit)`.
pub(crate) fn parse_job(line: &str) -> Option<String> {
    let rest = match line.split_once("start job is running for ") {
        Some((_, rest)) => rest,
        None => line.split_once("Job ")?.1.split_once("/start running").map(|(unit, _)| unit)?,
    };
    let name = rest.split(" (").next().unwrap_or(rest).trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Text without escape sequences and carriage returns.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_sequence(&mut chars),
            '\n' | '\t' => out.push(char),
            '\r' if chars.peek() != Some(&'\n') => out.push('\n'),
            _ if char.is_control() => {}
            _ => out.push(char),
        }
    }
    out
}

/// CSI (`ESC [ ... letter`) and OSC (`ESC ] ... BEL or ESC \`) sequences; others are one character.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => while chars.next().is_some_and(|char| !('@'..='~').contains(&char)) {},
        Some(']') => while chars.next().is_some_and(|char| !matches!(char, '\u{7}' | '\\')) {},
        _ => {}
    }
}

/// Restores the terminal settings on drop.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = io::stdin();
        let Ok(before) = termios::tcgetattr(&stdin) else { return Self(None) };
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        match termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A closed terminal needs no settings.
            termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before).unwrap_or_default();
        }
    }
}

/// Connects this terminal to the console until Ctrl-] or until the console closes.
pub fn attach(socket: &Path) -> io::Result<()> {
    let mut console = UnixStream::connect(socket)?;
    let (stdin, mut stdout) = (io::stdin(), io::stdout());
    let _raw = Raw::enter();
    let mut buffer = [0_u8; 4096];
    let mut typing = true;
    loop {
        let mut wait = vec![PollFd::new(console.as_fd(), PollFlags::POLLIN)];
        if typing {
            wait.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut wait, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = wait.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready.first() == Some(&true) {
            let count = console.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            stdout.write_all(&buffer[..count])?;
            stdout.flush()?;
        }
        if ready.get(1) == Some(&true) {
            let count = nix::unistd::read(&stdin, &mut buffer)?;
            if buffer[..count].contains(&LEAVE) {
                return Ok(());
            }
            typing = count > 0;
            console.write_all(&buffer[..count])?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_has_no_control_sequences() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        std::fs::write(&log, "one\r\n\u{1b}[0;32m  OK  \u{1b}[0m Started x.\r\n\r\n\u{1b}]0;t\u{7}two")
            .unwrap();
        assert_eq!(tail(&log, 2), ["  OK   Started x.", "two"]);
        assert_eq!(tail(&log, 10).len(), 3);
        assert!(tail(&folder.path().join("none"), 3).is_empty());
    }

    #[test]
    fn the_boot_phase_ignores_earlier_boots() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        assert_eq!(Phase::of(&log, 0), Phase::Firmware);
        let boot = "BdsDxe: starting Boot0001\r\n";
        std::fs::write(&log, boot).unwrap();
        assert_eq!(Phase::of(&log, 0), Phase::Kernel);
        let units = format!("{boot}\u{1b}[!p\u{1b}]104\u{7}\u{1b}[?7h");
        std::fs::write(&log, &units).unwrap();
        assert_eq!(Phase::of(&log, 0), Phase::Systemd);
        std::fs::write(&log, format!("{units}core-01 login: ")).unwrap();
        assert_eq!(Phase::of(&log, 0), Phase::Login);
        std::fs::write(&log, format!("{units}core-01 login: {boot}")).unwrap();
        assert_eq!(Phase::of(&log, 0), Phase::Kernel, "after a reset");
        let length = std::fs::metadata(&log).unwrap().len();
        assert_eq!(Phase::of(&log, length), Phase::Firmware);
    }

    #[test]
    fn the_pending_unit_is_parsed() {
        let check =
            |line: &str, expect: Option<&str>| assert_eq!(parse_job(line).as_deref(), expect, "{line}");
        check(
            "[ *** ] A start job is running for Wait for Network (12s / no limit)",
            Some("Wait for Network"),
        );
        check("[**  ] (1 of 2) Job docker.service/start running (3s / 1min 30s)", Some("docker.service"));
        check("[  OK  ] Started docker.service", None);
    }
}
