//! The shutdown signal.

use tokio::sync::watch;

#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Also returns the sender, which signals by `true` or on drop.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Waits for the signal.
    pub async fn requested(&mut self) {
        // Fails if the sender is dropped, which also means shutdown.
        drop(self.0.wait_for(|shutdown| *shutdown).await);
    }
}
