//! Retries of idempotent operations while the bus is unreachable.

use tokio::time::sleep;

use crate::error::Error;
use crate::limits::{MAX_RETRIES, RECONNECT_INTERVAL};

#[derive(Default)]
pub(crate) struct Retries(u32);

impl Retries {
    /// Whether to retry. Waits before it returns true.
    pub async fn should_retry(&mut self, error: &Error) -> bool {
        if !error.is_disconnect() || self.0 == MAX_RETRIES {
            return false;
        }
        self.0 += 1;
        sleep(RECONNECT_INTERVAL).await;
        true
    }
}
