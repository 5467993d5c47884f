//! Shutdown on SIGTERM or SIGINT.

use tokio::signal::unix::{SignalKind, signal};

/// Completes on SIGTERM or SIGINT, also for later waiters.
#[derive(Clone)]
pub struct Stop(tokio::sync::watch::Receiver<bool>);

impl Stop {
    /// Must be called within a tokio runtime.
    pub fn by_signal() -> std::io::Result<Self> {
        let (sender, receiver) = tokio::sync::watch::channel(false);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                tracing::info!("received {name}, stopping");
                sender.send_replace(true);
            }
        });
        Ok(Stop(receiver))
    }

    /// Completes after the first signal, immediately if there was one. Never completes without.
    pub async fn wait(mut self) {
        // The sender lives as long as the process.
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending().await
        }
    }
}
