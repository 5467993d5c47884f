//! Waiting longer and longer, and never all at the same moment.

use std::time::Duration;

use crate::limits::{MAX_BACKOFF, MIN_BACKOFF};
use crate::settings::Settings;

/// Doubles with each wait, up to a limit: a short TTL leaves no time to sleep while the store is back.
pub struct Backoff<'a> {
    settings: &'a Settings,
    next: Duration,
}

impl<'a> Backoff<'a> {
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, next: MIN_BACKOFF.min(settings.retry_interval()) }
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = MIN_BACKOFF.min(self.settings.retry_interval());
    }

    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next.mul_f64(0.5 + 0.5 * self.settings.jitter.fraction())).await;
        self.next = (self.next * 2).min(MAX_BACKOFF).min(self.settings.retry_interval());
    }
}
