//! Lines for the journal that name the check they are about, in the field `KEELSON_HEALTH_CHECK`; to stderr where
//! there is no journal.

use std::os::unix::net::UnixDatagram;

use crate::root::Root;

/// journald's own protocol: a datagram of `FIELD=value` lines.
const SOCKET: &str = "/run/systemd/journal/socket";
const IDENTIFIER: &str = "keelson-health-check";
/// A longer line is cut: a datagram has its limit, and a person's patience too.
const LINE_MAX: usize = 4096;

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

    /// One line; `check` names the check that it is about.
    pub fn say(&self, priority: Priority, check: Option<&str>, line: &str) {
        let line = one_line(line);
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
            text.push_str(&format!("KEELSON_HEALTH_CHECK={}\nMESSAGE={check}: {line}\n", one_line(check)));
        }
        None => text.push_str(&format!("MESSAGE={line}\n")),
    }
    text
}

/// A line's end would be a field's end.
fn one_line(text: &str) -> String {
    let mut line: String = text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > LINE_MAX {
        let end = (0..=LINE_MAX).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
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
    fn a_line_has_its_check_as_a_field_and_forges_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at("/run/systemd/journal")).unwrap();
        let journald = UnixDatagram::bind(root.at(SOCKET)).unwrap();
        let journal = Journal::open(&root);
        journal.say(Priority::Warning, Some("10-disk"), "full\nPRIORITY=0\n");
        journal.say(Priority::Info, None, "all is well");
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
    fn a_line_without_end_is_cut_between_characters() {
        let line = one_line(&"ä".repeat(LINE_MAX));
        assert_eq!(line.chars().count(), LINE_MAX / 2 + 1);
    }
}
