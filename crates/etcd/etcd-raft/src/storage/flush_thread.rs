//! The thread that flushes the log. Everything appended during a flush shares the next one (group commit).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use raft_log::{FlushError, Flusher, Log, MaintainError, Ticket};
use tokio::sync::{Notify, oneshot};

use crate::disk_metrics::DiskMetrics;
use crate::environment::{Executor, JoinHandle};
use crate::limits::{FULL_DISK_RETRY_INTERVAL, SLOW_FLUSH};
use crate::raft_types::Types;
use crate::storage::disk_space::DiskSpace;

pub enum Waiter {
    Append(IOFlushed<Types>),
    State(oneshot::Sender<io::Result<()>>),
}

impl Waiter {
    fn done(self, result: io::Result<()>) {
        match self {
            Waiter::Append(flushed) => flushed.io_completed(result),
            // The caller may have been cancelled.
            Waiter::State(result_sender) => {
                result_sender.send(result).ok();
            }
        }
    }
}

/// The queue of writes that wait for a flush.
#[derive(Default)]
pub struct FlushQueue {
    queue: Mutex<QueueState>,
    wake: Notify,
}

#[derive(Default)]
struct QueueState {
    waiting: Vec<(Ticket, Waiter)>,
    stop: bool,
}

impl FlushQueue {
    pub fn push(&self, ticket: Ticket, waiter: Waiter) {
        self.queue.lock().waiting.push((ticket, waiter));
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.queue.lock().stop = true;
        self.wake.notify_one();
    }

    /// The waiting writes; `None` when the log is closed.
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

/// The thread's handle. Dropping it flushes the log and stops the thread.
pub struct FlushThread {
    flushes: Arc<FlushQueue>,
    thread: Option<JoinHandle>,
}

impl Drop for FlushThread {
    fn drop(&mut self) {
        self.flushes.stop();
        if let Some(join) = self.thread.take() {
            join();
        }
    }
}

/// Starts the thread.
pub fn start(
    executor: Arc<dyn Executor>,
    log: Arc<Log>,
    flusher: Flusher,
    disk_space: DiskSpace,
    metrics: Arc<dyn DiskMetrics>,
) -> io::Result<(Arc<FlushQueue>, FlushThread)> {
    let flushes = Arc::new(FlushQueue::default());
    let task = FlushTask {
        log,
        flushes: Arc::clone(&flushes),
        disk_space,
        metrics,
        executor: Arc::clone(&executor),
        maintaining: Arc::default(),
        maintenance: Mutex::default(),
    };
    let thread = executor.spawn_thread("log-flush", Box::pin(task.run(flusher)))?;
    Ok((Arc::clone(&flushes), FlushThread { flushes, thread: Some(thread) }))
}

/// The state of the thread.
struct FlushTask {
    log: Arc<Log>,
    flushes: Arc<FlushQueue>,
    disk_space: DiskSpace,
    metrics: Arc<dyn DiskMetrics>,
    executor: Arc<dyn Executor>,
    /// Whether the next segment is being allocated.
    maintaining: Arc<AtomicBool>,
    maintenance: Mutex<Option<JoinHandle>>,
}

impl FlushTask {
    async fn run(self, mut flusher: Flusher) {
        let mut waiting = Vec::new();
        let mut disk_full = None;
        while let Some(more) = self.flushes.next().await {
            waiting.extend(more);
            let (last, began) = (self.log.bounds().last, Instant::now());
            match flush_once(&mut flusher, &self.flushes, &mut waiting) {
                FlushResult::Done { maintain: needed } => {
                    let took = began.elapsed();
                    self.metrics.log_flushed(took, last);
                    if took > SLOW_FLUSH {
                        tracing::warn!(seconds = took.as_secs_f64(), "the disk was slow to flush the log");
                    }
                    disk_full = None;
                    if needed {
                        self.maintain();
                    }
                }
                FlushResult::Full(error) => {
                    disk_full.get_or_insert_with(|| self.disk_space.report_full(&error));
                    self.executor.sleep(FULL_DISK_RETRY_INTERVAL).await;
                }
            }
        }
        if let Err(error) = flusher.flush() {
            tracing::error!(%error, "the log's end could not be flushed");
        }
        // Maintenance holds the log's lock, and a restart in the same directory must not find it locked.
        let maintenance = self.maintenance.lock().take();
        if let Some(join) = maintenance {
            join();
        }
    }

    /// Allocates the next segment on another thread; on a full disk it retries until there is space.
    fn maintain(&self) {
        if self.maintaining.swap(true, Ordering::AcqRel) {
            return;
        }
        let (log, running) = (Arc::clone(&self.log), Arc::clone(&self.maintaining));
        let (flushes, disk_space) = (Arc::clone(&self.flushes), self.disk_space.clone());
        let executor = Arc::clone(&self.executor);
        let work = async move {
            let mut disk_full = None;
            loop {
                match log.maintain() {
                    Err(error @ MaintainError::Full { .. }) if !flushes.queue.lock().stop => {
                        disk_full.get_or_insert_with(|| disk_space.report_full(&error));
                        executor.sleep(FULL_DISK_RETRY_INTERVAL).await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "the log's next segment is not ready");
                        break;
                    }
                    Ok(()) => break,
                }
            }
            drop(disk_full);
            running.store(false, Ordering::Release);
        };
        match self.executor.spawn_thread("log-maintain", Box::pin(work)) {
            Ok(join) => *self.maintenance.lock() = Some(join),
            Err(error) => tracing::error!(%error, "no thread for the log's next segment"),
        }
    }
}

enum FlushResult {
    Done {
        maintain: bool,
    },
    /// The waiters keep waiting.
    Full(FlushError),
}

/// Flushes once for all waiters.
fn flush_once(
    flusher: &mut Flusher,
    flushes: &FlushQueue,
    waiting: &mut Vec<(Ticket, Waiter)>,
) -> FlushResult {
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
            FlushResult::Done { maintain: flushed.maintain }
        }
        Err(error @ FlushError::Full { .. }) => {
            flushes.queue.lock().waiting.append(waiting);
            FlushResult::Full(error)
        }
        Err(FlushError::Failed(error)) => {
            for (_, waiter) in waiting.drain(..) {
                waiter.done(Err(io::Error::other(error.clone())));
            }
            FlushResult::Done { maintain: false }
        }
    }
}
