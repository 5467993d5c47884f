//! Unbuffered reads, such as of standard input: unread bytes are left for the next reader.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub struct Unbuffered<F>(pub F);

impl<F: AsFd> Read for Unbuffered<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match nix::unistd::read(&self.0, buffer) {
                Err(Errno::EINTR) => {}
                done => return Ok(done?),
            }
        }
    }
}

/// Also ends when the other end of the pipe is closed, without reading further: input after a session does not belong
/// to it.
pub struct Interruptible<F>(pub F, pub PipeReader);

impl<F: AsFd> Read for Interruptible<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Interruptible(source, stop) = self;
        let mut fds =
            [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(source.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if fds[0].any() == Some(false) => return Unbuffered(&*source).read(buffer),
                Ok(_) => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn unread_input_is_left() {
        let (source, mut writer) = io::pipe().unwrap();
        let (stop, stopping) = io::pipe().unwrap();
        let mut buffer = [0; 8];
        writer.write_all(b"answer\nrest").unwrap();
        assert_eq!(Unbuffered(&source).read(&mut buffer[..7]).unwrap(), 7);
        let mut reader = Interruptible(&source, stop);
        assert_eq!(reader.read(&mut buffer).unwrap(), 4);
        // A pending read ends, and later input is not read.
        let waiting = std::thread::spawn(|| drop(stopping));
        assert_eq!(reader.read(&mut buffer).unwrap(), 0);
        waiting.join().unwrap();
        writer.write_all(b"more").unwrap();
        assert_eq!(reader.read(&mut buffer).unwrap(), 0);
        assert_eq!(Unbuffered(&source).read(&mut buffer).unwrap(), 4);
    }
}
