//! nspawn's notifications, by the protocol of `sd_notify(3)`.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::pidfd::PidFd;

const MESSAGE_MAX: usize = 4096;

/// The socket to which nspawn sends them.
#[derive(Debug)]
pub struct Notifications {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notifications {
    pub fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_path_buf() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nspawn has started the guest's init; returns false if nspawn exits before.
    pub fn wait_until_ready(&self, nspawn: &PidFd) -> io::Result<bool> {
        while let Some(message) = self.next(nspawn)? {
            if message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads until nspawn exits: it forwards the guest's notifications, and both block while the socket is full.
    pub fn discard_until_exit(&self, nspawn: &PidFd) -> io::Result<()> {
        while self.next(nspawn)?.is_some() {}
        Ok(())
    }

    /// The next message; `None` if nspawn has exited, and all are read.
    fn next(&self, nspawn: &PidFd) -> io::Result<Option<Vec<u8>>> {
        let mut message = vec![0; MESSAGE_MAX];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    message.truncate(length);
                    return Ok(Some(message));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let mut wait = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(nspawn.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut wait, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if wait[0].any() == Some(true) => {}
                Ok(_) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_guest_is_ready_when_nspawn_reports_it_and_not_when_it_exits() {
        let folder = tempfile::tempdir().unwrap();
        let check = |messages: &[&str], expect: bool| {
            let notifications = Notifications::listen(&folder.path().join("notify.sock")).unwrap();
            let sender = UnixDatagram::unbound().unwrap();
            let mut nspawn = Command::new("sleep").arg("1000").spawn().unwrap();
            for message in messages {
                sender.send_to(message.as_bytes(), notifications.path()).unwrap();
            }
            if !expect {
                nspawn.kill().unwrap();
            }
            let process = PidFd::open(i32::try_from(nspawn.id()).unwrap()).unwrap();
            assert_eq!(notifications.wait_until_ready(&process).unwrap(), expect, "{messages:?}");
            nspawn.kill().unwrap();
            nspawn.wait().unwrap();
        };
        check(&["STATUS=Container running.\nREADY=1\nX_NSPAWN_LEADER_PID=4"], true);
        check(&["STATUS=Starting", "READY=1"], true);
        check(&["STATUS=Starting", "READY=10", "XREADY=1"], false);
        check(&[], false);
    }

    /// More than the socket's queue holds.
    #[test]
    fn a_guest_that_notifies_again_and_again_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let notifications = Notifications::listen(&folder.path().join("notify.sock")).unwrap();
        let mut nspawn = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = PidFd::open(i32::try_from(nspawn.id()).unwrap()).unwrap();
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| notifications.discard_until_exit(&process));
            let sender = UnixDatagram::unbound().unwrap();
            sender.set_write_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
            for _ in 0..10_000 {
                sender.send_to(b"STATUS=1 of 2 jobs", notifications.path()).unwrap();
            }
            nspawn.kill().unwrap();
            reads.join().unwrap().unwrap();
        });
        nspawn.wait().unwrap();
    }
}
