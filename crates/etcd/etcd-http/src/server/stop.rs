//! The one signal that ends connections: first gracefully, then at once.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Run = 0,
    /// Requests in flight are answered, watches end, idle connections close.
    Drain = 1,
    /// Everything ends.
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

    /// Poll it once to be woken by the next `raise`; then look at `level`.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits until the level is at least `level`.
    pub(super) async fn reached(&self, level: Level) {
        loop {
            let mut changed = std::pin::pin!(self.changed());
            // Registered before the look, or a raise between the two would be slept through.
            changed.as_mut().enable();
            if self.level() >= level {
                return;
            }
            changed.await;
        }
    }
}
