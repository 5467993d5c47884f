//! One call for many: what asks while a call is on its way goes together with the next one.
//!
//! systemd looks through all its folders for each call that removes links. With one call a unit, a thousand units take
//! it a minute, in which it does nothing else.

use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use unit_file::UnitName;

use crate::error::Error;

type ResultSender = oneshot::Sender<Result<(), Error>>;

#[derive(Default)]
pub(crate) struct CallBatcher {
    queue: Mutex<Vec<(UnitName, ResultSender)>>,
    call_lock: AsyncMutex<()>,
}

impl CallBatcher {
    /// Has `unit` be part of a call, with all that wait at that time; whoever has the turn makes it. Where many are
    /// refused, each is tried alone.
    pub async fn call<F, C>(&self, unit: &UnitName, make_call: C) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
        C: Fn(Vec<UnitName>) -> F,
    {
        loop {
            let (sender, mut receiver) = oneshot::channel();
            self.queue.lock().push((unit.clone(), sender));
            let _guard = self.call_lock.lock().await;
            if let Ok(result) = receiver.try_recv() {
                return result;
            }
            let batch = std::mem::take(&mut *self.queue.lock());
            let units: Vec<_> = batch.iter().map(|(unit, _)| unit.clone()).collect();
            let result = if units.is_empty() { Ok(()) } else { make_call(units).await };
            let retry_individually = batch.len() > 1 && matches!(result, Err(Error::Method { .. }));
            for (unit, sender) in batch {
                let result = if retry_individually { make_call(vec![unit]).await } else { result.clone() };
                // Who does not wait any more need not know.
                sender.send(result).ok();
            }
            // Without an answer, another one took it along and was dropped before its end.
            if let Ok(result) = receiver.try_recv() {
                return result;
            }
        }
    }
}
