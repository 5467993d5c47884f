//! Jobs that are waited for. The end of one may be heard before the number of it is known, so ends are kept for as
//! long as any call that makes a job has no answer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

#[derive(Default)]
struct State {
    /// Calls without an answer yet.
    pending_calls: usize,
    /// While there are any: what ended.
    results: HashMap<u32, String>,
    waiters: HashMap<u32, Vec<oneshot::Sender<String>>>,
}

#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<State>>);

/// Held while a call that makes a job is on its way.
pub(crate) struct PendingCall(Arc<Mutex<State>>);

impl Jobs {
    /// To be had before the call is sent.
    pub fn begin_call(&self) -> PendingCall {
        self.0.lock().pending_calls += 1;
        PendingCall(self.0.clone())
    }

    pub fn job_removed(&self, job: u32, result: &str) {
        let mut state = self.0.lock();
        for waiter in state.waiters.remove(&job).unwrap_or_default() {
            // Who does not wait any more need not know.
            waiter.send(result.to_owned()).ok();
        }
        if state.pending_calls > 0 {
            state.results.insert(job, result.to_owned());
        }
    }
}

impl PendingCall {
    /// The call was answered; the result comes when the job ends.
    pub fn wait(self, job: u32) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if let Some(result) = state.results.get(&job) {
            sender.send(result.clone()).ok();
            return receiver;
        }
        // Waits that were given up are cleared away here, where such lists grow.
        let waiter = state.waiters.entry(job).or_default();
        waiter.retain(|waiter| !waiter.is_closed());
        waiter.push(sender);
        receiver
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.pending_calls -= 1;
        if state.pending_calls == 0 {
            state.results.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_may_precede_the_job_id() {
        let jobs = Jobs::default();
        let (early, late, later) = (jobs.begin_call(), jobs.begin_call(), jobs.begin_call());
        jobs.job_removed(7, "done");
        assert_eq!(early.wait(7).try_recv(), Ok("done".into()));
        let (mut waiter, mut twice) = (late.wait(8), later.wait(8));
        waiter.try_recv().unwrap_err();
        jobs.job_removed(8, "timeout");
        assert_eq!(waiter.try_recv(), Ok("timeout".into()));
        assert_eq!(twice.try_recv(), Ok("timeout".into()));
    }

    #[test]
    fn results_are_dropped_without_waiters() {
        let jobs = Jobs::default();
        jobs.job_removed(1, "done");
        let call = jobs.begin_call();
        jobs.job_removed(2, "done");
        drop(call);
        let state = jobs.0.lock();
        assert_eq!((state.results.len(), state.waiters.len()), (0, 0));
    }
}
