//! Patience with a bus that goes away and comes back, for work that may be done twice.

use tokio::time::sleep;

use crate::error::Error;
use crate::limits::{LOST_PAUSE, LOST_TRIES};

#[derive(Default)]
pub(crate) struct Tries(u32);

impl Tries {
    /// Whether to try again, a moment later.
    pub async fn go_on(&mut self, error: &Error) -> bool {
        if !error.is_loss() || self.0 == LOST_TRIES {
            return false;
        }
        self.0 += 1;
        sleep(LOST_PAUSE).await;
        true
    }
}
