//! Writes one segment while the next one is fetched and unpacked.
//!
//! A segment counts as written when the target said so after a sync. Two buffers are all that there is.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use crate::place::Target;

/// One is filled while the other one is written.
const BUFFERS: usize = 2;

/// A buffer of one segment's size, and what is in it.
pub(crate) struct Order<'a> {
    pub target: &'a dyn Target,
    /// For messages.
    pub role: &'a str,
    pub offset: u64,
    pub buffer: Vec<u8>,
    pub length: usize,
    /// The image's size, with its last segment.
    pub finish: Option<u64>,
    /// False where the target has these bytes already.
    pub write: bool,
}

/// What became of an order.
pub(crate) struct Outcome {
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
    orders: SyncSender<Order<'a>>,
    outcomes: Receiver<Outcome>,
    spare: Vec<Vec<u8>>,
    under_way: usize,
}

impl<'a> WriteBehind<'a> {
    /// The thread ends when this is dropped, after what it was given before.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, 'a>, segment_bytes: usize) -> Self {
        let (orders, taken) = sync_channel::<Order<'a>>(BUFFERS);
        let (told, outcomes) = channel();
        scope.spawn(move || carry_out(&taken, &told));
        let spare = (0..BUFFERS).map(|_| vec![0; segment_bytes]).collect();
        Self { orders, outcomes, spare, under_way: 0 }
    }

    /// A buffer to fill; waits for one. `done` is told of the length of each segment that was written.
    pub(crate) fn buffer(&mut self, done: &mut dyn FnMut(u64)) -> Result<Vec<u8>, WriteFailed> {
        if let Some(buffer) = self.spare.pop() {
            return Ok(buffer);
        }
        self.wait(done)?;
        // invariant: `wait` gives back a buffer or an error; an empty one would hold no segment and be refused.
        Ok(self.spare.pop().unwrap_or_default())
    }

    pub(crate) fn give(&mut self, order: Order<'a>) -> Result<(), WriteFailed> {
        let (role, offset) = (order.role.to_owned(), order.offset);
        self.under_way += 1;
        self.orders.send(order).map_err(|_| self.why(role, offset))
    }

    /// Why nobody takes orders any more: an earlier one failed.
    fn why(&mut self, role: String, offset: u64) -> WriteFailed {
        self.outcomes.iter().find_map(|outcome| outcome.result.err()).unwrap_or_else(|| gone(role, offset))
    }

    /// Waits until all that was given is written.
    pub(crate) fn drain(&mut self, done: &mut dyn FnMut(u64)) -> Result<(), WriteFailed> {
        while self.under_way > 0 {
            self.wait(done)?;
        }
        Ok(())
    }

    fn wait(&mut self, done: &mut dyn FnMut(u64)) -> Result<(), WriteFailed> {
        let outcome = self.outcomes.recv().map_err(|_| gone(String::new(), 0))?;
        self.under_way -= 1;
        self.spare.push(outcome.buffer);
        outcome.result?;
        done(outcome.length as u64);
        Ok(())
    }
}

/// Nobody writes any more: only after a panic.
fn gone(role: String, offset: u64) -> WriteFailed {
    WriteFailed { role, offset, source: io::Error::other("the writing thread is gone") }
}

/// Ends at the first failure: nothing is written behind a hole.
fn carry_out(orders: &Receiver<Order<'_>>, outcomes: &Sender<Outcome>) {
    for order in orders {
        let result = write(&order).map_err(|source| WriteFailed {
            role: order.role.to_owned(),
            offset: order.offset,
            source,
        });
        let failed = result.is_err();
        let outcome = Outcome { buffer: order.buffer, length: order.length, result };
        if outcomes.send(outcome).is_err() || failed {
            return;
        }
    }
}

fn write(order: &Order<'_>) -> io::Result<()> {
    if order.write {
        order.target.write_at(&order.buffer[..order.length], order.offset)?;
        order.target.sync()?;
    }
    order.finish.map_or(Ok(()), |size| order.target.finish(size))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::place::ReadAt;

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

    /// Whenever the next segment comes: before the failure, or when the thread has ended because of it.
    #[test]
    fn the_first_failure_is_what_is_told() {
        for pause in [0, 50].map(Duration::from_millis) {
            std::thread::scope(|scope| {
                let mut writer = WriteBehind::start(scope, 1);
                let mut give = |offset| {
                    let buffer = writer.buffer(&mut |_| {})?;
                    let (role, finish) = ("usr", None);
                    writer.give(Order {
                        target: &FullDisk,
                        role,
                        offset,
                        buffer,
                        length: 1,
                        finish,
                        write: true,
                    })
                };
                assert!(give(7).is_ok());
                std::thread::sleep(pause);
                let failed = give(8).and_then(|()| give(9)).unwrap_err();
                assert_eq!(
                    (failed.role.as_str(), failed.offset, failed.source.kind()),
                    ("usr", 7, io::ErrorKind::StorageFull)
                );
            });
        }
    }
}
