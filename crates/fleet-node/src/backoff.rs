//! Waiting longer and longer, and never all at the same moment.

use std::time::Duration;

use crate::limits::{FIRST_BACKOFF, LONGEST_BACKOFF};
use crate::settings::Chance;

/// Doubles with each wait, up to a limit.
pub struct Backoff<'a> {
    chance: &'a Chance,
    next: Duration,
}

impl<'a> Backoff<'a> {
    pub fn new(chance: &'a Chance) -> Self {
        Self { chance, next: FIRST_BACKOFF }
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = FIRST_BACKOFF;
    }

    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next.mul_f64(0.5 + 0.5 * self.chance.share())).await;
        self.next = (self.next * 2).min(LONGEST_BACKOFF);
    }
}
