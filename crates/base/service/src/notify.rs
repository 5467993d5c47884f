//! Notifications to systemd: ready, status, reloading, stopping, watchdog.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service has started or finished reloading.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Sets the status text of `systemctl status`.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// The service reloads its configuration, until it calls [`ready`]. `monotonic` is the time since boot.
pub fn reloading(monotonic: Duration) {
    let micros = i128::try_from(monotonic.as_micros()).unwrap_or(i128::MAX);
    notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(micros)]);
}

/// The service has begun to shut down: systemd starts `TimeoutStopSec`.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    // Does nothing if the service does not run under systemd.
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}

/// Sends keep-alives at half of the watchdog interval while the runtime is responsive, so that systemd restarts a
/// service that hangs. Never returns.
pub async fn run_watchdog() {
    run_watchdog_while(|| true).await;
}

/// Like [`run_watchdog`], but only while `is_alive` returns true; otherwise the caller must call [`keep_alive`].
pub async fn run_watchdog_while(is_alive: impl Fn() -> bool) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut interval = tokio::time::interval((limit / 2).max(Duration::from_millis(10)));
    loop {
        interval.tick().await;
        if is_alive() {
            keep_alive();
        }
    }
}

/// Sends one watchdog keep-alive, if the unit has a watchdog.
pub fn keep_alive() {
    if sd_notify::watchdog_enabled().is_some() {
        notify(&[NotifyState::Watchdog]);
    }
}
