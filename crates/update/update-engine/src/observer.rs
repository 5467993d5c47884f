//! Observers of an update.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use omaha::{Event, EventResult, EventType};
use update_core::status::Operation;

/// Sends an event to the server, if any.
pub(crate) type Notify<'a> = &'a (dyn Fn(Event) + Sync);

/// Receives the progress of an update and can cancel it.
pub trait Observer: Sync {
    fn operation(&self, operation: Operation);
    /// Called with the version and the download size once they are known.
    fn found(&self, version: &str, bytes: u64);
    /// Bytes downloaded so far and in total.
    fn progress(&self, done: u64, total: u64);
    /// Whether to stop. Called often.
    fn cancelled(&self) -> bool;
}

/// Forwards to an observer, and reports download progress to the server, whose grant would expire on a slow link.
pub(crate) struct ProgressReporter<'a> {
    observer: &'a dyn Observer,
    notify: Notify<'a>,
    every: Duration,
    /// Time of the last report, and the bytes downloaded by then.
    last: Mutex<(Instant, u64)>,
}

impl<'a> ProgressReporter<'a> {
    pub fn new(observer: &'a dyn Observer, notify: Notify<'a>, every: Duration) -> Self {
        Self { observer, notify, every, last: Mutex::new((Instant::now(), 0)) }
    }

    fn is_due(&self, done: u64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.0.elapsed() >= self.every && done > last.1;
        if is_due {
            *last = (Instant::now(), done);
        }
        is_due
    }
}

impl Observer for ProgressReporter<'_> {
    fn operation(&self, operation: Operation) {
        self.observer.operation(operation);
    }

    fn found(&self, version: &str, bytes: u64) {
        self.observer.found(version, bytes);
    }

    fn progress(&self, done: u64, total: u64) {
        self.observer.progress(done, total);
        if done < total && self.is_due(done) {
            (self.notify)(Event::new(EventType::DOWNLOAD_STARTED, EventResult::SUCCESS));
        }
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}
