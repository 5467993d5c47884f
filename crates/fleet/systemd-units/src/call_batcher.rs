//! Batches calls: units that arrive during a call are part of the next one.
//!
//! systemd scans all its directories for each call that removes links. With one call per unit, a thousand units would
//! block it for a minute.

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
    /// Adds `unit` to the next call, which any waiting caller makes. If a call for several units fails, each is
    /// retried individually.
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
                // The caller may have given up.
                sender.send(result).ok();
            }
            // Without a result, the caller that took this unit was cancelled.
            if let Ok(result) = receiver.try_recv() {
                return result;
            }
        }
    }
}
