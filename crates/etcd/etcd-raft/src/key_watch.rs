//! An open watch. It never skips an event: if it cannot continue, it ends.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use etcd_api::{ApiError, Event, Key};
use etcd_store::watch::WatcherId;
use etcd_store::watch_queue::{self, watch_queue};

use crate::storage::applied::{Applied, Watcher};

/// Opens a watch from the event index `since`, or from now. With `once` it ends after its first event. Fails with
/// error 401 if `since` is no longer in the history.
pub fn open(
    applied: &Arc<Applied>,
    key: &Key,
    recursive: bool,
    since: Option<u64>,
    once: bool,
) -> Result<Watch, ApiError> {
    let (sender, events) = watch_queue();
    let from = since.unwrap_or(0);
    // Under one lock, so that no event is missed between the history scan and the registration.
    let (past, start_index, id) = applied.with_inner(|inner| {
        let past = match from {
            0 => None,
            from => inner.store.scan_history(key, recursive, from)?,
        };
        let waits = !once || past.is_none();
        let id = waits.then(|| inner.hub.register(key, recursive, from, Watcher { sender, once }));
        Ok((past, inner.store.index(), id))
    })?;
    let receiver = Receiver { applied: Arc::clone(applied), key: key.clone(), id, events };
    Ok(Watch { receiver, recursive, once, past, start_index })
}

struct Receiver {
    applied: Arc<Applied>,
    key: Key,
    /// `None` after the hub has dropped the watcher.
    id: Option<WatcherId>,
    events: watch_queue::Receiver,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The write lock blocks all readers: it is taken only if the watcher is still registered.
        if let Some(id) = self.id {
            self.applied.with_inner(|inner| inner.hub.cancel(&self.key, id));
        }
    }
}

/// The events of a key, or of all keys below it, in order.
pub struct Watch {
    receiver: Receiver,
    recursive: bool,
    once: bool,
    /// The next event from the history, until the watch has caught up with its start index.
    past: Option<Arc<Event>>,
    /// The store index at the start of the watch. Later events arrive through the receiver.
    start_index: u64,
}

impl Watch {
    /// The store index at the start of the watch, which is the response's `X-Etcd-Index`.
    pub fn start_index(&self) -> u64 {
        self.start_index
    }

    /// `None` if the watch has ended: the reader was too slow, or the state was replaced.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The poll variant of [`Watch::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        if let Some(event) = self.past.take() {
            if self.once {
                return Poll::Ready(Some(event));
            }
            let Ok(past) = self.after(&event) else { return Poll::Ready(None) };
            self.past = past;
            return Poll::Ready(Some(event));
        }
        let event = ready!(self.receiver.events.poll_event(context));
        if self.once || event.is_none() {
            self.receiver.id = None;
        }
        Poll::Ready(event)
    }

    /// The next event in the history; an error if the history no longer holds it.
    fn after(&self, event: &Event) -> Result<Option<Arc<Event>>, ApiError> {
        let next = event.index() + 1;
        if next > self.start_index {
            return Ok(None);
        }
        let Receiver { applied, key, .. } = &self.receiver;
        let found = applied.read(|store| store.scan_history(key, self.recursive, next))?;
        Ok(found.filter(|event| event.index() <= self.start_index))
    }
}
