//! One thread flushes for all that wait: whatever is appended while a flush runs shares the next one. It must never
//! report as flushed what is not.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use raft_log::disk::Disk;
use raft_log::{FlushError, Flusher, Log, MaintainError, Ticket};
use tokio::sync::{Notify, oneshot};

use crate::disk_times::DiskTimes;
use crate::hands::{Background, Hands, Join};
use crate::limits::{FULL_DISK_PAUSE, SLOW_FLUSH};
use crate::raft_types::Types;
use crate::room::Room;

pub enum Waiter {
    Append(IOFlushed<Types>),
    State(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn done(self, result: io::Result<()>) {
        match self {
            Waiter::Append(flushed) => flushed.io_completed(result),
            // Who asked may be gone with its task when the member stops.
            Waiter::State(answer) => {
                answer.send(result).ok();
            }
        }
    }
}

/// What waits for the disk.
#[derive(Default)]
pub struct Flushes {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Ticket, Waiter)>,
    stop: bool,
}

impl Flushes {
    pub fn wait_for(&self, ticket: Ticket, waiter: Waiter) {
        self.queue.lock().waiting.push((ticket, waiter));
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.queue.lock().stop = true;
        self.wake.notify_one();
    }

    /// What waits now; nothing when the log is to be closed.
    async fn next(&self) -> Option<Vec<(Ticket, Waiter)>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if !queue.waiting.is_empty() {
                    return Some(std::mem::take(&mut queue.waiting));
                }
                if queue.stop {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }
}

/// The flushing thread; when it is dropped, what was appended is flushed and the thread ends.
pub struct FlushThread {
    flushes: Arc<Flushes>,
    thread: Option<Join>,
}

impl Drop for FlushThread {
    fn drop(&mut self) {
        self.flushes.stop();
        if let Some(join) = self.thread.take() {
            join();
        }
    }
}

/// Starts the thread. It writes what is appended, and flushes it.
pub fn start<D: Disk, H: Hands<Disk = D>>(
    hands: &Arc<H>,
    log: Arc<Log<D>>,
    flusher: Flusher<D>,
    room: Room,
    times: Arc<dyn DiskTimes>,
) -> io::Result<(Arc<Flushes>, FlushThread)> {
    let flushes = Arc::new(Flushes::default());
    let flushing = Flushing {
        log,
        flushes: Arc::clone(&flushes),
        room,
        times,
        hands: Arc::<H>::clone(hands),
        maintaining: Arc::default(),
        maintenance: Mutex::default(),
    };
    let thread = hands.keep("log-flush", Box::pin(flushing.run(flusher)))?;
    Ok((Arc::clone(&flushes), FlushThread { flushes, thread: Some(thread) }))
}

/// What the flushing thread works with.
struct Flushing<D: Disk> {
    log: Arc<Log<D>>,
    flushes: Arc<Flushes>,
    room: Room,
    times: Arc<dyn DiskTimes>,
    hands: Arc<dyn Background>,
    /// The next segment is being made.
    maintaining: Arc<AtomicBool>,
    maintenance: Mutex<Option<Join>>,
}

impl<D: Disk> Flushing<D> {
    async fn run(self, mut flusher: Flusher<D>) {
        let mut waiting = Vec::new();
        let mut no_room = None;
        while let Some(more) = self.flushes.next().await {
            waiting.extend(more);
            let (last, began) = (self.log.bounds().last, Instant::now());
            match flush_once(&mut flusher, &self.flushes, &mut waiting) {
                Flush::Done { maintain: wanted } => {
                    let took = began.elapsed();
                    self.times.log_flushed(took, last);
                    if took > SLOW_FLUSH {
                        tracing::warn!(seconds = took.as_secs_f64(), "the disk was slow to flush the log");
                    }
                    no_room = None;
                    if wanted {
                        self.maintain();
                    }
                }
                Flush::Full(error) => {
                    no_room.get_or_insert_with(|| self.room.wait(&error));
                    self.hands.pause(FULL_DISK_PAUSE).await;
                }
            }
        }
        if let Err(error) = flusher.flush() {
            tracing::error!(%error, "the log's end could not be flushed");
        }
        // It holds the log too: who starts again in the same folder must not find it locked.
        let maintenance = self.maintenance.lock().take();
        if let Some(join) = maintenance {
            join();
        }
    }

    /// Makes the next segment, away from the thread that others wait for; without room for it, as
    /// soon as there is some.
    fn maintain(&self) {
        if self.maintaining.swap(true, Ordering::AcqRel) {
            return;
        }
        let (log, running) = (Arc::clone(&self.log), Arc::clone(&self.maintaining));
        let (flushes, room) = (Arc::clone(&self.flushes), self.room.clone());
        let hands = Arc::clone(&self.hands);
        let maintaining = async move {
            let mut no_room = None;
            loop {
                match log.maintain() {
                    Err(error @ MaintainError::Full { .. }) if !flushes.queue.lock().stop => {
                        no_room.get_or_insert_with(|| room.wait(&error));
                        hands.pause(FULL_DISK_PAUSE).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the log's next segment is not ready");
                        break;
                    }
                    Ok(()) => break,
                }
            }
            drop(no_room);
            running.store(false, Ordering::Release);
        };
        match self.hands.keep("log-maintain", Box::pin(maintaining)) {
            Ok(join) => *self.maintenance.lock() = Some(join),
            Err(error) => tracing::error!(%error, "no thread for the log's next segment"),
        }
    }
}

enum Flush {
    Done {
        maintain: bool,
    },
    /// Who waits goes on waiting.
    Full(FlushError),
}

/// One flush for all that wait.
fn flush_once<D: Disk>(
    flusher: &mut Flusher<D>,
    flushes: &Flushes,
    waiting: &mut Vec<(Ticket, Waiter)>,
) -> Flush {
    match flusher.flush() {
        Ok(flushed) => {
            let mut left = Vec::new();
            for (ticket, waiter) in waiting.drain(..) {
                if ticket <= flushed.through {
                    waiter.done(Ok(()));
                } else {
                    left.push((ticket, waiter));
                }
            }
            flushes.queue.lock().waiting.extend(left);
            Flush::Done { maintain: flushed.maintain }
        }
        Err(error @ FlushError::Full { .. }) => {
            flushes.queue.lock().waiting.append(waiting);
            Flush::Full(error)
        }
        Err(FlushError::Failed(error)) => {
            for (_, waiter) in waiting.drain(..) {
                waiter.done(Err(io::Error::other(error.clone())));
            }
            Flush::Done { maintain: false }
        }
    }
}
