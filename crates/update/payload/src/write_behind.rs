//! Writes a segment while the next one is fetched and unpacked, with two buffers.
//!
//! A segment counts as written after the target's sync succeeded.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use crate::target::Target;

/// One is filled while the other one is written.
const BUFFERS: usize = 2;

/// A buffer of the segment size, and its destination.
pub(crate) struct WriteRequest<'a> {
    pub target: &'a dyn Target,
    /// For error messages.
    pub role: &'a str,
    pub offset: u64,
    pub buffer: Vec<u8>,
    pub length: usize,
    /// Set for the last segment: the image's size.
    pub finish: Option<u64>,
    /// False if the target contains the bytes already.
    pub write: bool,
}

/// The result of a request.
pub(crate) struct WriteResult {
    pub buffer: Vec<u8>,
    pub length: usize,
    pub result: Result<(), WriteFailed>,
}

#[derive(Debug)]
pub(crate) struct WriteFailed {
    pub role: String,
    pub offset: u64,
    pub source: io::Error,
}

pub(crate) struct WriteBehind<'a> {
    requests: SyncSender<WriteRequest<'a>>,
    results: Receiver<WriteResult>,
    spare: Vec<Vec<u8>>,
    under_way: usize,
}

impl<'a> WriteBehind<'a> {
    /// Starts the thread. It exits after this is dropped and all requests are processed.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, 'a>, segment_bytes: usize) -> Self {
        let (requests, receiver) = sync_channel::<WriteRequest<'a>>(BUFFERS);
        let (results_sender, results) = channel();
        scope.spawn(move || run(&receiver, &results_sender));
        let spare = (0..BUFFERS).map(|_| vec![0; segment_bytes]).collect();
        Self { requests, results, spare, under_way: 0 }
    }

    /// Waits for a buffer to fill. Calls `done` with the length of each written segment.
    pub(crate) fn buffer(&mut self, done: &mut dyn FnMut(u64)) -> Result<Vec<u8>, WriteFailed> {
        if let Some(buffer) = self.spare.pop() {
            return Ok(buffer);
        }
        self.wait(done)?;
        // invariant: `wait` returns a buffer or an error; an empty buffer would be rejected.
        Ok(self.spare.pop().unwrap_or_default())
    }

    pub(crate) fn submit(&mut self, request: WriteRequest<'a>) -> Result<(), WriteFailed> {
        let (role, offset) = (request.role.to_owned(), request.offset);
        self.under_way += 1;
        self.requests.send(request).map_err(|_| self.failure(role, offset))
    }

    /// The error of an earlier request, because of which the thread exited.
    fn failure(&mut self, role: String, offset: u64) -> WriteFailed {
        self.results
            .iter()
            .find_map(|outcome| outcome.result.err())
            .unwrap_or_else(|| thread_exited(role, offset))
    }

    /// Waits until all requests are processed.
    pub(crate) fn drain(&mut self, done: &mut dyn FnMut(u64)) -> Result<(), WriteFailed> {
        while self.under_way > 0 {
            self.wait(done)?;
        }
        Ok(())
    }

    fn wait(&mut self, done: &mut dyn FnMut(u64)) -> Result<(), WriteFailed> {
        let result = self.results.recv().map_err(|_| thread_exited(String::new(), 0))?;
        self.under_way -= 1;
        self.spare.push(result.buffer);
        result.result?;
        done(result.length as u64);
        Ok(())
    }
}

/// The thread exited without an error: only after a panic.
fn thread_exited(role: String, offset: u64) -> WriteFailed {
    WriteFailed { role, offset, source: io::Error::other("the writer thread has exited") }
}

/// Stops at the first failure, so that no gap is left behind.
fn run(requests: &Receiver<WriteRequest<'_>>, results: &Sender<WriteResult>) {
    for request in requests {
        let result = write(&request).map_err(|source| WriteFailed {
            role: request.role.to_owned(),
            offset: request.offset,
            source,
        });
        let failed = result.is_err();
        let result = WriteResult { buffer: request.buffer, length: request.length, result };
        if results.send(result).is_err() || failed {
            return;
        }
    }
}

fn write(request: &WriteRequest<'_>) -> io::Result<()> {
    if request.write {
        request.target.write_at(&request.buffer[..request.length], request.offset)?;
        request.target.sync()?;
    }
    request.finish.map_or(Ok(()), |size| request.target.finish(size))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::ReadAt;

    struct FullDisk;

    impl ReadAt for FullDisk {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }

        fn size(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    impl Target for FullDisk {
        fn capacity(&self) -> io::Result<u64> {
            Ok(u64::MAX)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn finish(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    /// The failure arrives before or after the next segment is submitted.
    #[test]
    fn the_first_failure_is_reported() {
        for pause in [0, 50].map(Duration::from_millis) {
            std::thread::scope(|scope| {
                let mut writer = WriteBehind::start(scope, 1);
                let mut submit = |offset| {
                    let buffer = writer.buffer(&mut |_| {})?;
                    let (role, finish) = ("usr", None);
                    writer.submit(WriteRequest {
                        target: &FullDisk,
                        role,
                        offset,
                        buffer,
                        length: 1,
                        finish,
                        write: true,
                    })
                };
                assert!(submit(7).is_ok());
                std::thread::sleep(pause);
                let failed = submit(8).and_then(|()| submit(9)).unwrap_err();
                assert_eq!(
                    (failed.role.as_str(), failed.offset, failed.source.kind()),
                    ("usr", 7, io::ErrorKind::StorageFull)
                );
            });
        }
    }
}
