//! Connects to a forwarded port until an SSH server sends its banner.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

const BANNER: [u8; 7] = *b"SSH-2.0";
/// Delay before another connection, per open one: each starts a process on a Keelson machine.
const INTERVAL: Duration = Duration::from_millis(500);
/// QEMU accepts a connection at any time, but retries its own connection to the machine only after 6 s: a newer one
/// may get the banner first.
const OPEN_MAX: usize = 8;

#[derive(Debug, Default)]
pub struct Probe {
    open: Vec<TcpStream>,
    last: Option<Instant>,
}

impl Probe {
    /// Whether the banner has arrived from this port of 127.0.0.1. Does not block.
    pub fn is_answered(&mut self, port: u16) -> bool {
        let waiting = u32::try_from(self.open.len()).unwrap_or(u32::MAX);
        let is_due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL * waiting.max(1));
        if is_due && self.open.len() < OPEN_MAX {
            self.last = Some(Instant::now());
            self.open.extend(connect(port));
        }
        let mut answered = false;
        self.open.retain(|connection| {
            let mut banner = [0; BANNER.len()];
            match connection.peek(&mut banner) {
                // A read may return part of it.
                Ok(read) => {
                    answered |= banner == BANNER;
                    read > 0
                }
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            }
        });
        answered
    }
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_nonblocking(true)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// Polls for up to two intervals.
    fn is_answered(probe: &mut Probe, port: u16) -> bool {
        let deadline = Instant::now() + INTERVAL * 2;
        while Instant::now() < deadline {
            if probe.is_answered(port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn only_a_banner_is_an_answer() {
        let check = |sent: &'static [u8], expected: bool| {
            let (listener, port) = listener();
            std::thread::spawn(move || {
                for mut connection in listener.incoming().flatten() {
                    connection.write_all(sent).unwrap();
                }
            });
            assert_eq!(is_answered(&mut Probe::default(), port), expected, "{sent:?}");
        };
        check(b"SSH-2.0-OpenSSH_10.0\r\n", true);
        check(b"HTTP/1.1 400\r\n", false);
        check(b"", false);
    }

    #[test]
    fn a_silent_connection_is_followed_by_another() {
        let (listener, port) = listener();
        let server = std::thread::spawn(move || {
            let silent = listener.accept().unwrap().0;
            listener.accept().unwrap().0.write_all(b"SSH-2.0-x\r\n").unwrap();
            silent
        });
        let mut probe = Probe::default();
        assert!(is_answered(&mut probe, port));
        drop(server.join().unwrap());
    }

    #[test]
    fn a_port_without_a_listener_does_not_answer() {
        let (listener, port) = listener();
        drop(listener);
        let mut probe = Probe::default();
        assert!(!probe.is_answered(port) && probe.open.is_empty());
    }
}
