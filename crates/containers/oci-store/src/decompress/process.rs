//! The parent's side: feeds a child and reads what it returns, without trusting either to end.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::arguments::DECOMPRESSOR_NAME;

const PIECE: usize = 64 << 10;
/// A child that takes and returns nothing for this time is ended.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a child's message in an error.
const MAX_MESSAGE: u64 = 500;

/// Decompressed data. The child is killed on drop.
pub struct Decompressor<R> {
    from: R,
    /// Read, and not yet given to the child.
    pending: Vec<u8>,
    child: Child,
    /// `None`: the child has everything.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl<R: Read> Decompressor<R> {
    pub fn start(program: &Path, name: &str, from: R) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg0(DECOMPRESSOR_NAME).arg(name).arg(std::process::id().to_string());
        command.env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        // Neither side may wait for the other.
        fcntl(&input, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { from, pending: Vec::new(), child, input: Some(input), output })
    }

    /// Gives the child what it takes now.
    fn feed(&mut self) -> io::Result<()> {
        let Some(input) = &mut self.input else { return Ok(()) };
        match input.write(&self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // It reads no more. Whether that is an error, its end shows.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.input = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.input.is_some() && self.pending.is_empty() {
            self.from.by_ref().take(PIECE as u64).read_to_end(&mut self.pending)?;
            if self.pending.is_empty() {
                self.input = None;
            }
        }
        Ok(())
    }

    /// The child has closed its output: everything is there only if it succeeded.
    fn end(&mut self) -> io::Result<usize> {
        self.input = None;
        // A child that was taken over may close its output and continue.
        let mut message = Vec::new();
        if let Some(stderr) = &mut self.child.stderr {
            let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
            if ready(&mut polled)? {
                stderr.take(MAX_MESSAGE).read_to_end(&mut message)?;
            }
        }
        if message.is_empty() && self.child.wait()?.success() {
            return Ok(0);
        }
        let text = String::from_utf8_lossy(&message).replace(char::is_control, " ");
        Err(io::Error::new(ErrorKind::InvalidData, Failed(text)))
    }
}

#[derive(Debug)]
struct Failed(String);

impl std::error::Error for Failed {}

impl fmt::Display for Failed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            to.write_str("the process that decompresses was ended")
        } else {
            to.write_str(&self.0)
        }
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            self.refill()?;
            let mut polled = vec![PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
            polled.extend(self.input.as_ref().map(|input| PollFd::new(input.as_fd(), PollFlags::POLLOUT)));
            if !ready(&mut polled)? {
                return Err(io::Error::new(
                    ErrorKind::TimedOut,
                    "the process that decompresses does nothing",
                ));
            }
            let is_ready = |at: usize| polled.get(at).and_then(PollFd::any).unwrap_or(false);
            let (has_output, takes_input) = (is_ready(0), is_ready(1));
            if has_output {
                return match self.output.read(into)? {
                    0 if !into.is_empty() => self.end(),
                    read => Ok(read),
                };
            }
            if takes_input {
                self.feed()?;
            }
        }
    }
}

/// Whether something happens in time.
fn ready(polled: &mut [PollFd<'_>]) -> io::Result<bool> {
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(polled, patience) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl<R> Drop for Decompressor<R> {
    fn drop(&mut self) {
        // Fails only if it has exited.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
