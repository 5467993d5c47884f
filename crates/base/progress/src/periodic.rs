//! Periodic notices about long work, from another thread because the work may block.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Prints the current detail after an initial delay and then once per interval, until it is dropped.
#[derive(Debug)]
pub struct PeriodicNotices {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    detail: String,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeriodicNotices {
    pub fn start(first_after: Duration, interval: Duration, print: impl Fn(&str) + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut due = Instant::now() + first_after;
            let mut state = own.state();
            while !state.ended {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    print(&state.detail);
                    due += interval;
                } else {
                    state = own.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    pub fn set(&self, detail: &str) {
        detail.clone_into(&mut self.shared.state().detail);
    }
}

impl Drop for PeriodicNotices {
    /// No line is printed after this returns.
    fn drop(&mut self) {
        self.shared.state().ended = true;
        self.shared.ended.notify_all();
        // A panic while printing a notice does not affect the work.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(10);

    #[test]
    fn blocking_work_is_reported_until_it_ends() {
        let (sender, lines) = mpsc::channel();
        let notices =
            PeriodicNotices::start(5 * SHORT, SHORT, move |detail| sender.send(detail.to_owned()).unwrap());
        notices.set("core-01");
        for _ in 0..3 {
            assert_eq!(lines.recv_timeout(LONG).unwrap(), "core-01");
        }
        drop(notices);
        // The thread has exited, so the channel is closed.
        assert!(lines.iter().count() < 100);
    }

    #[test]
    fn short_work_prints_nothing() {
        let (sender, lines) = mpsc::channel::<String>();
        let notices =
            PeriodicNotices::start(LONG, LONG, move |detail| sender.send(detail.to_owned()).unwrap());
        notices.set("core-01");
        drop(notices);
        assert_eq!(lines.iter().count(), 0);
    }
}
