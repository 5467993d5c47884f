//! Unpacks frames in a child. It has the old bytes: this process reads each of them once, and keeps none.

use std::io;
use std::path::PathBuf;

use payload::{LocalUnpacker, OldRange, Output, ReadAt, Unpack};

use crate::limits::UNPACK_TIMEOUT;
use crate::link::{Link, LinkError, Reply, Wait};
use crate::message::{Malformed, Request, Role};
use crate::process::{Isolation, Worker, WorkerError};

/// Bytes that are read at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Unpacks in a child, or in this process.
#[derive(Debug)]
pub struct Unpacker(Inner);

#[derive(Debug)]
enum Inner {
    Local(LocalUnpacker),
    Process(UnpackProcess),
}

/// Starts its child when needed.
#[derive(Debug)]
struct UnpackProcess {
    program: PathBuf,
    worker: Option<Worker>,
    window: Window,
}

/// The range of the old image that the child has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Window {
    offset: u64,
    length: u64,
}

impl Window {
    /// Bytes that are of no use for `range`, and those after them that are.
    fn kept_for(&self, range: &OldRange) -> (u64, u64) {
        match range.offset.checked_sub(self.offset).filter(|discard| *discard < self.length) {
            Some(discard) => (discard, (self.length - discard).min(u64::from(range.length))),
            None => (self.length, 0),
        }
    }
}

impl Unpacker {
    /// Starts no child yet.
    #[must_use]
    pub fn new(isolation: &Isolation) -> Self {
        Self(match isolation {
            Isolation::InProcess => Inner::Local(LocalUnpacker::default()),
            Isolation::Process(program) => Inner::Process(UnpackProcess {
                program: program.clone(),
                worker: None,
                window: Window::default(),
            }),
        })
    }
}

impl Unpack for Unpacker {
    fn clear(&mut self) {
        match &mut self.0 {
            Inner::Local(local) => local.clear(),
            // The next range replaces the child's bytes.
            Inner::Process(process) => process.window.offset = u64::MAX,
        }
    }

    fn load_old(&mut self, old: &dyn ReadAt, range: &OldRange) -> io::Result<bool> {
        match &mut self.0 {
            Inner::Local(local) => local.load_old(old, range),
            Inner::Process(process) => process.load_old(old, range),
        }
    }

    fn unpack(&mut self, frame: &[u8], with_old: bool, output: &mut Output<'_>) -> io::Result<()> {
        match &mut self.0 {
            Inner::Local(local) => local.unpack(frame, with_old, output),
            Inner::Process(process) => process
                .with_worker(|link| {
                    let lengths = [frame.len(), output.unfilled().len()].map(u32::try_from);
                    let [Ok(frame_length), Ok(output_length)] = lengths else {
                        return Err(Malformed("a frame is too long").into());
                    };
                    let request = Request::Unpack { frame: frame_length, with_old, output: output_length };
                    let wait = Wait::new(UNPACK_TIMEOUT, &|| false);
                    link.send(&request.to_bytes()?, wait)?;
                    link.send(frame, wait)?;
                    read_unpacked(link, output, wait)
                })
                .map_err(io::Error::other),
        }
    }
}

impl UnpackProcess {
    fn load_old(&mut self, old: &dyn ReadAt, range: &OldRange) -> io::Result<bool> {
        if self.worker.is_none() {
            self.window = Window::default();
        }
        let (discard, keep) = self.window.kept_for(range);
        let append = u64::from(range.length) - keep;
        let mut is_readable = true;
        let sent = self.with_worker(|link| {
            let lengths = [discard, keep, append].map(u32::try_from);
            let [Ok(discard), Ok(keep), Ok(append)] = lengths else {
                return Err(Malformed("an old range is too long").into());
            };
            let wait = Wait::new(UNPACK_TIMEOUT, &|| false);
            link.send(&Request::Old { discard, keep, append }.to_bytes()?, wait)?;
            is_readable = send_range(link, old, range.offset + u64::from(keep), append.into(), wait)?;
            Ok(())
        });
        sent.map_err(io::Error::other)?;
        self.window = Window { offset: range.offset, length: range.length.into() };
        if !is_readable {
            // It waits for the rest.
            self.worker = None;
        }
        Ok(is_readable)
    }

    /// Starts a child if there is none. Ends it after an error.
    fn with_worker<T>(
        &mut self,
        work: impl FnOnce(&mut Link) -> Result<T, LinkError>,
    ) -> Result<T, WorkerError> {
        let mut worker = match self.worker.take().filter(Worker::is_of_this_thread) {
            Some(worker) => worker,
            None => Worker::start(&self.program, Role::Unpack)?,
        };
        match work(&mut worker.link) {
            Ok(done) => {
                self.worker = Some(worker);
                Ok(done)
            }
            Err(error) => Err(worker.explain(error)),
        }
    }
}

/// Returns false if the bytes cannot be read.
fn send_range(
    link: &mut Link,
    old: &dyn ReadAt,
    start: u64,
    length: u64,
    wait: Wait<'_>,
) -> Result<bool, LinkError> {
    if let Some((file, begin)) = old.file() {
        return link.send_file(file, begin + start, length, wait);
    }
    let mut piece = vec![0; PIECE_BYTES];
    for offset in (start..start + length).step_by(PIECE_BYTES) {
        let length = usize::try_from(start + length - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        if old.read_at(&mut piece[..length], offset).is_err() {
            return Ok(false);
        }
        link.send(&piece[..length], wait)?;
    }
    Ok(true)
}

/// Reads the reply to a request to unpack. Each piece is hashed while the child sends the next one.
pub(crate) fn read_unpacked(
    link: &mut Link,
    output: &mut Output<'_>,
    wait: Wait<'_>,
) -> Result<(), LinkError> {
    let wanted = output.unfilled().len();
    match link.reply(wanted, wait)? {
        Reply::Data(length) if length == wanted => {
            while !output.unfilled().is_empty() {
                let unfilled = output.unfilled();
                let limit = unfilled.len().min(PIECE_BYTES);
                link.read_exact(&mut unfilled[..limit], wait)?;
                output.advance(limit);
            }
            Ok(())
        }
        Reply::Invalid => Ok(()),
        _ => Err(Malformed("another segment than requested").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use payload::Digest;

    #[test]
    fn overlapping_ranges_are_sent_once() {
        let window = Window { offset: 100, length: 50 };
        let range = |offset, length| OldRange { offset, length, sha256: Digest([0; 32]) };
        for (offset, length, expect) in [
            (100, 50, (0, 50)),
            (100, 80, (0, 50)),
            (120, 10, (20, 10)),
            (120, 90, (20, 30)),
            (150, 10, (50, 0)),
            (90, 20, (50, 0)),
        ] {
            assert_eq!(window.kept_for(&range(offset, length)), expect, "{offset}+{length}");
        }
        assert_eq!(Window { offset: u64::MAX, length: 50 }.kept_for(&range(0, 9)), (50, 0));
    }
}
