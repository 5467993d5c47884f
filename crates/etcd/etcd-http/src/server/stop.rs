//! The shutdown signal of all connections: graceful, then immediate.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Run = 0,
    /// Pending requests are answered, watches and idle connections end.
    Drain = 1,
    /// All connections end.
    Now = 2,
}

#[derive(Debug, Default)]
pub(super) struct Stop {
    level: AtomicU8,
    changed: Notify,
}

impl Stop {
    pub(super) fn level(&self) -> Level {
        match self.level.load(Ordering::Acquire) {
            0 => Level::Run,
            1 => Level::Drain,
            _ => Level::Now,
        }
    }

    pub(super) fn raise(&self, level: Level) {
        self.level.fetch_max(level as u8, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Poll it once to register for the next `raise`, then check `level`.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits until the level is at least `level`.
    pub(super) async fn reached(&self, level: Level) {
        loop {
            let mut changed = std::pin::pin!(self.changed());
            // Registered before the check, so that no `raise` is missed.
            changed.as_mut().enable();
            if self.level() >= level {
                return;
            }
            changed.await;
        }
    }
}
