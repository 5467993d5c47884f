//! What systemd is told: ready, alive, stopping.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service does what it is for.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What it is doing, for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// It reads its configuration anew; [`ready`] ends that. `monotonic` is the time since the machine started.
pub fn reloading(monotonic: Duration) {
    let micros = i128::try_from(monotonic.as_micros()).unwrap_or(i128::MAX);
    tell(&[NotifyState::Reloading, NotifyState::MonotonicUsec(micros)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// Tells systemd twice in its limit that we live, as long as the runtime turns: what hangs is killed and started
/// again. Forever.
pub async fn stay_alive() {
    stay_alive_while(|| true).await;
}

/// [`stay_alive`] while `lives` returns true; otherwise the caller sends [`alive`].
pub async fn stay_alive_while(lives: impl Fn() -> bool) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut beat = tokio::time::interval((limit / 2).max(Duration::from_millis(10)));
    loop {
        beat.tick().await;
        if lives() {
            alive();
        }
    }
}

/// Sends one watchdog keep-alive, if the unit has a watchdog.
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}
