//! The parent's end of the socket: every read and write has a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::limits::{MAX_DATA, MAX_TEXT};
use crate::message::{HEADER_BYTES, Header, Kind, Malformed, Refused, printable};

/// Interval of checks for cancellation and the deadline.
const STEP: Duration = Duration::from_millis(250);

/// Bytes of one write: the kernel applies the timeout to each piece of it, so that a long write has none.
const WRITE_BYTES: usize = 64 << 10;

/// Why nothing more can be exchanged with a child.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("it ended")]
    Ended,
    #[error("no answer in {0} s")]
    Deadline(u64),
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("cannot use its socket")]
    Socket(#[source] io::Error),
}

/// Until when to wait, and whether to stop before.
#[derive(Clone, Copy)]
pub struct Wait<'a> {
    started: Instant,
    limit: Duration,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Wait<'a> {
    pub fn new(limit: Duration, cancelled: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { started: Instant::now(), limit, cancelled }
    }

    fn check(&self) -> Result<(), LinkError> {
        if (self.cancelled)() {
            return Err(LinkError::Cancelled);
        }
        self.check_deadline()
    }

    fn check_deadline(&self) -> Result<(), LinkError> {
        if self.started.elapsed() > self.limit {
            return Err(LinkError::Deadline(self.limit.as_secs()));
        }
        Ok(())
    }
}

/// The socket to a child.
#[derive(Debug)]
pub struct Link(UnixStream);

/// What a child replies to a request for bytes.
pub enum Reply {
    /// The number of bytes of data that follow.
    Data(usize),
    End,
    Invalid,
    Refused(Refused),
}

impl Link {
    /// # Errors
    /// The socket does not accept timeouts.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(STEP))?;
        stream.set_write_timeout(Some(STEP))?;
        Ok(Self(stream))
    }

    pub(crate) fn send(&mut self, mut bytes: &[u8], wait: Wait<'_>) -> Result<(), LinkError> {
        while !bytes.is_empty() {
            match self.0.write(&bytes[..bytes.len().min(WRITE_BYTES)]) {
                Ok(0) => return Err(LinkError::Ended),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) => retry(error, wait)?,
            }
            // A child that takes a few bytes at a time must not outlast the deadline.
            if !bytes.is_empty() {
                wait.check_deadline()?;
            }
        }
        Ok(())
    }

    /// Sends bytes of a file, which the kernel copies. Returns false if they cannot be read.
    pub(crate) fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        mut offset: u64,
        mut length: u64,
        wait: Wait<'_>,
    ) -> Result<bool, LinkError> {
        while length > 0 {
            let count = usize::try_from(length).unwrap_or(usize::MAX).min(WRITE_BYTES);
            match rustix::fs::sendfile(&self.0, file, Some(&mut offset), count).map_err(io::Error::from) {
                Ok(0) => return Ok(false),
                Ok(sent) => length -= sent as u64,
                Err(error) => match retry(error, wait) {
                    // Of the file: a socket fails as below.
                    Err(LinkError::Socket(_)) => return Ok(false),
                    outcome => outcome?,
                },
            }
            if length > 0 {
                wait.check_deadline()?;
            }
        }
        Ok(true)
    }

    /// Reads at least a byte.
    pub(crate) fn read(&mut self, into: &mut [u8], wait: Wait<'_>) -> Result<usize, LinkError> {
        loop {
            match self.0.read(into) {
                Ok(0) => return Err(LinkError::Ended),
                Ok(read) => return Ok(read),
                Err(error) => retry(error, wait)?,
            }
        }
    }

    pub(crate) fn read_exact(&mut self, into: &mut [u8], wait: Wait<'_>) -> Result<(), LinkError> {
        let mut got = 0;
        while got < into.len() {
            got += self.read(&mut into[got..], wait)?;
            // A child that sends a byte at a time must not outlast the deadline.
            if got < into.len() {
                wait.check_deadline()?;
            }
        }
        Ok(())
    }

    fn header(&mut self, wait: Wait<'_>) -> Result<Header, LinkError> {
        let mut bytes = [0; HEADER_BYTES];
        self.read_exact(&mut bytes, wait)?;
        Ok(Header::parse(bytes)?)
    }

    fn text(&mut self, length: usize, wait: Wait<'_>) -> Result<Vec<u8>, LinkError> {
        if length > MAX_TEXT {
            return Err(Malformed("a text that is too long").into());
        }
        let mut bytes = vec![0; length];
        self.read_exact(&mut bytes, wait)?;
        Ok(bytes)
    }

    /// What a child can do beyond its role, because the kernel lacks a restriction. Empty: nothing.
    pub(crate) fn hello(&mut self, wait: Wait<'_>) -> Result<String, LinkError> {
        match self.header(wait)? {
            Header { kind: Kind::Hello, length } => Ok(printable(&self.text(length, wait)?)),
            _ => Err(Malformed("an unexpected first message").into()),
        }
    }

    /// The next reply. `max_data`: bytes that one message may have.
    pub(crate) fn reply(&mut self, max_data: usize, wait: Wait<'_>) -> Result<Reply, LinkError> {
        let Header { kind, length } = self.header(wait)?;
        Ok(match kind {
            Kind::Data if (1..=max_data).contains(&length) => Reply::Data(length),
            Kind::End if length == 0 => Reply::End,
            Kind::Invalid if length == 0 => Reply::Invalid,
            Kind::Status | Kind::Failed => Reply::Refused(Refused::parse(kind, &self.text(length, wait)?)?),
            _ => return Err(Malformed("an unexpected reply").into()),
        })
    }

    /// As [`Link::reply`], for a body.
    pub(crate) fn body_reply(&mut self, wait: Wait<'_>) -> Result<Reply, LinkError> {
        match self.reply(MAX_DATA, wait)? {
            Reply::Invalid => Err(Malformed("an unexpected reply").into()),
            reply => Ok(reply),
        }
    }
}

fn retry(error: io::Error, wait: Wait<'_>) -> Result<(), LinkError> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => wait.check(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(LinkError::Ended),
        _ => Err(LinkError::Socket(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(600);

    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours).unwrap(), theirs)
    }

    #[track_caller]
    fn ends_in_time(outcome: Result<(), LinkError>, started: Instant) {
        assert!(matches!(outcome, Err(LinkError::Deadline(_))), "{outcome:?}");
        assert!(started.elapsed() < LIMIT * 5, "{:?}", started.elapsed());
    }

    #[test]
    fn a_child_that_is_silent_or_drips_does_not_block() {
        let (mut link, mut child) = pair();
        let started = Instant::now();
        ends_in_time(link.hello(Wait::new(LIMIT, &|| false)).map(drop), started);
        let dripping = std::thread::spawn(move || {
            while child.write_all(&[0]).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let started = Instant::now();
        ends_in_time(link.read_exact(&mut [0; 1000], Wait::new(LIMIT, &|| false)), started);
        drop(link);
        dripping.join().unwrap();
    }

    #[test]
    fn a_child_that_reads_nothing_or_too_slowly_does_not_block() {
        let (mut link, mut child) = pair();
        let (bytes, started) = (vec![0; 8 << 20], Instant::now());
        ends_in_time(link.send(&bytes, Wait::new(LIMIT, &|| false)), started);
        let dripping = std::thread::spawn(move || {
            while child.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let started = Instant::now();
        ends_in_time(link.send(&bytes, Wait::new(LIMIT, &|| false)), started);
        drop(link);
        dripping.join().unwrap();
    }

    #[test]
    fn waiting_is_cancelled() {
        let (mut link, _child) = pair();
        let outcome = link.hello(Wait::new(Duration::from_secs(600), &|| true));
        assert!(matches!(outcome, Err(LinkError::Cancelled)), "{outcome:?}");
    }
}
