//! Jobs that are waited for. The end of one may be heard before the number of it is known, so ends are kept for as
//! long as any call that makes a job has no answer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

#[derive(Default)]
struct State {
    /// Calls without an answer yet.
    asking: usize,
    /// While there are any: what ended.
    ended: HashMap<u32, String>,
    awaited: HashMap<u32, Vec<oneshot::Sender<String>>>,
}

#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<State>>);

/// Held while a call that makes a job is on its way.
pub(crate) struct Asking(Arc<Mutex<State>>);

impl Jobs {
    /// To be had before the call is sent.
    pub fn asking(&self) -> Asking {
        self.0.lock().asking += 1;
        Asking(self.0.clone())
    }

    pub fn ended(&self, job: u32, result: &str) {
        let mut state = self.0.lock();
        for waiting in state.awaited.remove(&job).unwrap_or_default() {
            // Who does not wait any more need not know.
            waiting.send(result.to_owned()).ok();
        }
        if state.asking > 0 {
            state.ended.insert(job, result.to_owned());
        }
    }
}

impl Asking {
    /// The call was answered; the result comes when the job ends.
    pub fn wait(self, job: u32) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.0.lock();
        if let Some(result) = state.ended.get(&job) {
            sender.send(result.clone()).ok();
            return receiver;
        }
        // Waits that were given up are cleared away here, where such lists grow.
        let waiting = state.awaited.entry(job).or_default();
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(sender);
        receiver
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.asking -= 1;
        if state.asking == 0 {
            state.ended.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_heard_before_and_after_the_number_is_known() {
        let jobs = Jobs::default();
        let (early, late, later) = (jobs.asking(), jobs.asking(), jobs.asking());
        jobs.ended(7, "done");
        assert_eq!(early.wait(7).try_recv(), Ok("done".into()));
        let (mut waiting, mut twice) = (late.wait(8), later.wait(8));
        waiting.try_recv().unwrap_err();
        jobs.ended(8, "timeout");
        assert_eq!(waiting.try_recv(), Ok("timeout".into()));
        assert_eq!(twice.try_recv(), Ok("timeout".into()));
    }

    #[test]
    fn nothing_is_kept_when_nobody_waits() {
        let jobs = Jobs::default();
        jobs.ended(1, "done");
        let asking = jobs.asking();
        jobs.ended(2, "done");
        drop(asking);
        let state = jobs.0.lock();
        assert_eq!((state.ended.len(), state.awaited.len()), (0, 0));
    }
}
