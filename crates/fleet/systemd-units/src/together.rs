//! One call for many: what asks while a call is on its way goes together with the next one.
//!
//! systemd looks through all its folders for each call that removes links. With one call a unit, a thousand units take
//! it a minute, in which it does nothing else.

use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, oneshot};
use unit_file::UnitName;

use crate::error::Error;

type Answer = oneshot::Sender<Result<(), Error>>;

#[derive(Default)]
pub(crate) struct Together {
    waiting: Mutex<Vec<(UnitName, Answer)>>,
    turn: Turn<()>,
}

impl Together {
    /// Has `unit` be part of a call, with all that wait at that time; whoever has the turn makes it. Where many are
    /// refused, each is tried alone.
    pub async fn ask<F, C>(&self, unit: &UnitName, call: C) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
        C: Fn(Vec<UnitName>) -> F,
    {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting.lock().push((unit.clone(), answer));
            let _turn = self.turn.lock().await;
            if let Ok(done) = answered.try_recv() {
                return done;
            }
            let all = std::mem::take(&mut *self.waiting.lock());
            let units: Vec<_> = all.iter().map(|(unit, _)| unit.clone()).collect();
            let done = if units.is_empty() { Ok(()) } else { call(units).await };
            let each_alone = all.len() > 1 && matches!(done, Err(Error::Refused { .. }));
            for (unit, answer) in all {
                let done = if each_alone { call(vec![unit]).await } else { done.clone() };
                // Who does not wait any more need not know.
                answer.send(done).ok();
            }
            // Without an answer, another one took it along and was dropped before its end.
            if let Ok(done) = answered.try_recv() {
                return done;
            }
        }
    }
}
