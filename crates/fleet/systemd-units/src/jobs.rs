//! Waits for jobs. A job may end before its id is known, so results are kept while any call that creates a job is
//! pending.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

#[derive(Default)]
struct State {
    /// Number of calls without a reply.
    pending_calls: usize,
    /// Results of jobs that ended while calls are pending.
    results: HashMap<u32, String>,
    waiters: HashMap<u32, Vec<oneshot::Sender<String>>>,
}

#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<State>>);

/// Held during a call that creates a job.
pub(crate) struct PendingCall(Arc<Mutex<State>>);

impl Jobs {
    /// Must be called before the call is sent.
    pub fn begin_call(&self) -> PendingCall {
        self.0.lock().pending_calls += 1;
        PendingCall(self.0.clone())
    }

    pub fn job_removed(&self, job: u32, result: &str) {
        let mut state = self.0.lock();
        for waiter in state.waiters.remove(&job).unwrap_or_default() {
            // The waiter may have given up.
            waiter.send(result.to_owned()).ok();
        }
        if state.pending_calls > 0 {
            state.results.insert(job, result.to_owned());
        }
    }
}

impl PendingCall {
    /// Waits for the job that the call returned.
    pub fn wait(self, job: u32) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if let Some(result) = state.results.get(&job) {
            sender.send(result.clone()).ok();
            return receiver;
        }
        // Removes abandoned waiters.
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
