//! Reads files, such as standard input, without a buffer: what one reader leaves is the next one's.

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

/// Ends also when the other end of the pipe is closed, and then reads nothing more: what is typed after a session is not
/// its own.
pub struct Until<F>(pub F, pub PipeReader);

impl<F: AsFd> Read for Until<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Until(source, stop) = self;
        let mut both =
            [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(source.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut both, PollTimeout::NONE) {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) if both[0].any() == Some(false) => return Unbuffered(&*source).read(buffer),
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
    fn the_rest_is_left() {
        let (source, mut typed) = io::pipe().unwrap();
        let (stop, stopping) = io::pipe().unwrap();
        let mut buffer = [0; 8];
        typed.write_all(b"answer\nrest").unwrap();
        assert_eq!(Unbuffered(&source).read(&mut buffer[..7]).unwrap(), 7);
        let mut until = Until(&source, stop);
        assert_eq!(until.read(&mut buffer).unwrap(), 4);
        // A read that waits ends, and what comes later is another's.
        let waiting = std::thread::spawn(|| drop(stopping));
        assert_eq!(until.read(&mut buffer).unwrap(), 0);
        waiting.join().unwrap();
        typed.write_all(b"more").unwrap();
        assert_eq!(until.read(&mut buffer).unwrap(), 0);
        assert_eq!(Unbuffered(&source).read(&mut buffer).unwrap(), 4);
    }
}
