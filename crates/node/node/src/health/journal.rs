//! Writes to the journal with the check's name in the field `KEELSON_HEALTH_CHECK`; falls back to stderr.

use std::os::unix::net::UnixDatagram;

use crate::root::Root;

/// journald's native protocol: datagrams of `FIELD=value` lines.
const SOCKET: &str = "/run/systemd/journal/socket";
const IDENTIFIER: &str = "keelson-health-check";
/// Longer lines are truncated, as datagrams are limited.
const MAX_LINE_BYTES: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
}

pub struct Journal {
    socket: Option<UnixDatagram>,
}

impl Journal {
    pub fn open(root: &Root) -> Self {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(root.at(SOCKET))?;
            Ok::<_, std::io::Error>(socket)
        };
        Self { socket: connect().ok() }
    }

    /// Logs one line; `check` is the check that it is about.
    pub fn log(&self, priority: Priority, check: Option<&str>, line: &str) {
        let line = sanitize(line);
        let sent = self.socket.as_ref().is_some_and(|socket| {
            let datagram = datagram(priority, check, &line);
            socket.send(datagram.as_bytes()).is_ok_and(|sent| sent == datagram.len())
        });
        if !sent {
            match check {
                Some(check) => eprintln!("{check}: {line}"),
                None => eprintln!("{line}"),
            }
        }
    }
}

fn datagram(priority: Priority, check: Option<&str>, line: &str) -> String {
    let number = priority as u8;
    let mut text = format!("PRIORITY={number}\nSYSLOG_IDENTIFIER={IDENTIFIER}\n");
    match check {
        Some(check) => {
            text.push_str(&format!("KEELSON_HEALTH_CHECK={}\nMESSAGE={check}: {line}\n", sanitize(check)));
        }
        None => text.push_str(&format!("MESSAGE={line}\n")),
    }
    text
}

/// A newline would start another field.
fn sanitize(text: &str) -> String {
    let mut line: String = text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MAX_LINE_BYTES {
        let end = (0..=MAX_LINE_BYTES).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn check_is_a_field_and_lines_forge_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at("/run/systemd/journal")).unwrap();
        let journald = UnixDatagram::bind(root.at(SOCKET)).unwrap();
        let journal = Journal::open(&root);
        journal.log(Priority::Warning, Some("10-disk"), "full\nPRIORITY=0\n");
        journal.log(Priority::Info, None, "all is well");
        let mut bytes = [0; 1024];
        let mut next = || {
            let length = journald.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        assert_eq!(
            next(),
            "PRIORITY=4\nSYSLOG_IDENTIFIER=keelson-health-check\nKEELSON_HEALTH_CHECK=10-disk\n\
             MESSAGE=10-disk: full PRIORITY=0\n"
        );
        assert_eq!(next(), "PRIORITY=6\nSYSLOG_IDENTIFIER=keelson-health-check\nMESSAGE=all is well\n");
    }

    #[test]
    fn long_lines_are_truncated_at_a_character_boundary() {
        let line = sanitize(&"ä".repeat(MAX_LINE_BYTES));
        assert_eq!(line.chars().count(), MAX_LINE_BYTES / 2 + 1);
    }
}
