//! Tells everybody that the server ends.

use tokio::sync::watch;

#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// And what tells it, by `true`, or by going away.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (tell, told) = watch::channel(false);
        (tell, Self(told))
    }

    /// Returns when the server ends.
    pub async fn reached(&mut self) {
        // A teller that is gone means the same.
        drop(self.0.wait_for(|stopping| *stopping).await);
    }
}
