//! Broadcasts a message to logged-in users.
//!
//! Their terminals come from logind and utmp. If logind does not know a session's terminal, the session's
//! processes are inspected.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;

use super::logind::Session;

const UTMP: &str = "/run/utmp";
/// glibc's `struct utmp` on x86-64 and arm64: `ut_type` first, `ut_line` of 32 bytes at offset 8.
const RECORD_BYTES: usize = 384;
const LINE_FIELD: std::ops::Range<usize> = 8..40;
const USER_PROCESS: i16 = 7;
/// Major device numbers of pseudo-terminal slaves: 136 to 143, with 256 minors each.
const PTS_MAJORS: std::ops::Range<u64> = 136..144;

/// Returns the number of terminals written to.
pub fn broadcast(sessions: &[Session], message: &str, now: &str) -> usize {
    let mut names: BTreeSet<String> =
        fs::read(UTMP).map(|records| utmp_terminals(&records)).unwrap_or_default();
    for session in sessions {
        match session.terminal.as_str() {
            "" => names.extend(scope_terminals(Path::new("/proc"), &session.scope)),
            terminal => {
                names.insert(terminal.to_owned());
            }
        }
    }
    let text = format_broadcast(message, now);
    names.iter().filter(|name| write(Path::new("/dev"), name, &text).is_ok()).count()
}

/// locksmith's format: an empty line, the sender, the message, an empty line, each padded to 79 columns.
fn format_broadcast(message: &str, now: &str) -> String {
    let from = format!("Broadcast message from locksmithd at {now}:");
    format!("\r{:79}\r\n{from:<79.79}\x07\x07\r\n{message:<79.79}\r\n\r{:79}\r\n", "", "")
}

fn write(devices: &Path, name: &str, text: &str) -> io::Result<()> {
    let is_unsafe = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if is_unsafe {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Must neither block on a stalled terminal nor acquire a controlling one.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut terminal: File =
        File::options().write(true).custom_flags(flags.bits()).open(devices.join(name))?;
    if !terminal.metadata()?.file_type().is_char_device() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    match terminal.write(text.as_bytes()) {
        // Somebody is logged in but reads slowly.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        result => result.map(drop),
    }
}

/// The terminals of user processes in a utmp file.
fn utmp_terminals(records: &[u8]) -> BTreeSet<String> {
    let users = records.chunks_exact(RECORD_BYTES).filter(|record| {
        record.first_chunk::<2>().is_some_and(|kind| i16::from_ne_bytes(*kind) == USER_PROCESS)
    });
    users
        .filter_map(|record| {
            let line = record.get(LINE_FIELD)?.split(|byte| *byte == 0).next()?;
            String::from_utf8(line.to_vec()).ok().filter(|line| !line.is_empty())
        })
        .collect()
}

/// The pseudo-terminals of a unit's processes.
fn scope_terminals(proc: &Path, scope: &str) -> BTreeSet<String> {
    let suffix = format!("/{scope}");
    let is_in_scope = |cgroup: &str| {
        cgroup.lines().any(|line| line.ends_with(&suffix) || line.contains(&format!("{suffix}/")))
    };
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter(|entry| fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|text| is_in_scope(&text)))
        .filter_map(|entry| pseudo_terminal(&fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

/// `pts/3`, from `tty_nr` of `/proc/PID/stat`: the fifth field after the command name in parentheses.
fn pseudo_terminal(stat: &str) -> Option<String> {
    let number: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(4)?.parse().ok()?;
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    PTS_MAJORS.contains(&major).then(|| format!("pts/{}", (major - PTS_MAJORS.start) * 256 + minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_format() {
        let text = format_broadcast("System reboot in 5 minutes!", "2026-11-21 15:00:00 +0000 UTC");
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(
            lines[1].trim_end_matches(['\x07', ' ']),
            "Broadcast message from locksmithd at 2026-11-21 15:00:00 +0000 UTC:"
        );
        assert!(lines[1].ends_with("\x07\x07") && lines[1].len() == 81);
        assert_eq!((lines[2].trim_end(), lines[2].len()), ("System reboot in 5 minutes!", 79));
        assert_eq!([lines[0], lines[3]].map(|line| (line.trim(), line.len())), [("", 80); 2]);
        // Longer lines are truncated.
        assert_eq!(format_broadcast(&"x".repeat(200), "").split("\r\n").nth(2).unwrap().len(), 79);
    }

    #[test]
    fn terminals_in_utmp() {
        let record = |kind: i16, line: &str| {
            let mut bytes = vec![0; RECORD_BYTES];
            bytes[..2].copy_from_slice(&kind.to_ne_bytes());
            bytes[8..8 + line.len()].copy_from_slice(line.as_bytes());
            bytes
        };
        let utmp =
            [record(7, "pts/1"), record(6, "tty1"), record(7, "ttyS0"), record(8, "pts/2"), record(7, "")];
        let found: Vec<_> = utmp_terminals(&[utmp.concat(), vec![7, 0, 1]].concat()).into_iter().collect();
        assert_eq!(found, ["pts/1", "ttyS0"]);
    }

    #[test]
    fn terminals_of_processes() {
        let proc = tempfile::tempdir().unwrap();
        let process = |id: &str, cgroup: &str, terminal: u32| {
            let folder = proc.path().join(id);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
            fs::write(folder.join("stat"), format!("{id} (a) b) S 1 2 3 {terminal} 5 6")).unwrap();
        };
        process("10", "/user.slice/user-500.slice/session-1.scope", 136 << 8 | 3);
        process("11", "/user.slice/user-500.slice/session-1.scope/sub", 137 << 8 | 1);
        process("12", "/user.slice/user-500.slice/session-1.scope", 0);
        process("13", "/user.slice/user-500.slice/session-11.scope", 136 << 8 | 4);
        process("14", "/user.slice/user-500.slice/session-1.scope", 4 << 8 | 1);
        let found: Vec<_> = scope_terminals(proc.path(), "session-1.scope").into_iter().collect();
        assert_eq!(found, ["pts/257", "pts/3"]);
    }

    #[test]
    fn writes_only_to_character_devices() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for name in ["file", "../file", "missing", ""] {
            assert!(write(folder.path(), name, "x").is_err(), "{name}");
        }
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"");
        assert!(write(Path::new("/dev"), "null", "x").is_ok());
    }
}
