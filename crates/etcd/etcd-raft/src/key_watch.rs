//! One open watch. It must never skip an event: where it cannot go on, it ends.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use etcd_api::{ApiError, Event, Key};
use etcd_store::watch::WatcherId;
use etcd_store::watch_queue::{self, watch_queue};

use crate::storage::applied::{Applied, Watcher};

/// Begins a watch at `since` (an event index), or now; with `once` it ends after its first event. Error 401 when
/// history lacks `since`.
pub fn open(
    applied: &Arc<Applied>,
    key: &Key,
    recursive: bool,
    since: Option<u64>,
    once: bool,
) -> Result<Watch, ApiError> {
    let (sender, events) = watch_queue();
    let from = since.unwrap_or(0);
    // In one go: no event falls between the look into the past and the registration.
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
    /// `None` once the hub does not have it any more.
    id: Option<WatcherId>,
    events: watch_queue::Receiver,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The lock keeps all readers out: it is taken only where the hub has something to forget.
        if let Some(id) = self.id {
            self.applied.with_inner(|inner| inner.hub.cancel(&self.key, id));
        }
    }
}

/// Events of one key, or of all below it, in order.
pub struct Watch {
    receiver: Receiver,
    recursive: bool,
    once: bool,
    /// The next event of the past, while the watch is not yet at its beginning.
    past: Option<Arc<Event>>,
    /// The store index when the watch start_index: what is later comes through the receiver.
    start_index: u64,
}

impl Watch {
    /// The store index when the watch start_index: the answer's `X-Etcd-Index`.
    pub fn start_index(&self) -> u64 {
        self.start_index
    }

    /// `None`: the watch ended, because its reader was too slow or the state was replaced.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Watch::next`] for those who poll.
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

    /// The following event of the past; an error if history lost it meanwhile.
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
