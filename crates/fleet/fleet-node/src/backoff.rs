//! Exponential backoff with jitter.

use std::time::Duration;

use crate::limits::{MAX_BACKOFF, MIN_BACKOFF};
use crate::settings::Settings;

/// Doubles with each wait. The limit depends on the TTL: with a short TTL the node must not sleep long after the
/// store is back.
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
