//! Caches the JSON of recent events for all their watchers.
//!
//! The remaining `ttl` is part of the cache key, so an outdated one is never served.

use std::sync::{Arc, Mutex, PoisonError};

use etcd_api::{Event, Node, Timestamp};

use crate::server::Piece;

/// Number of cached events; a power of two.
const SLOTS: usize = 16;

pub(crate) struct EventCache {
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    slots: [Mutex<Option<CachedEvent>>; SLOTS],
}

#[derive(Debug)]
struct CachedEvent {
    event: Arc<Event>,
    seconds: [Option<i64>; 2],
    chunk: Piece,
}

impl EventCache {
    /// `now` is the time for computing `ttl`.
    pub(crate) fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Box::new(now), slots: Default::default() }
    }

    /// The JSON line of an event.
    pub(crate) fn get(&self, event: &Arc<Event>) -> Piece {
        let now = (self.now)();
        let left = |node: &Node| node.expiration.map(|at| at.seconds_left(now));
        let seconds = [left(&event.node), event.prev_node.as_ref().and_then(left)];
        let slot = &self.slots[event.index() as usize % SLOTS];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = &*slot
            && Arc::ptr_eq(&text.event, event)
            && text.seconds == seconds
        {
            return text.chunk.clone();
        }
        let chunk = Piece::new(&event.to_json_line(now));
        *slot = Some(CachedEvent { event: Arc::clone(event), seconds, chunk: chunk.clone() });
        chunk
    }

    /// The same in the v1 format.
    pub(crate) fn get_v1(&self, event: &Event) -> Piece {
        Piece::new(&event.to_v1_json(None, (self.now)()))
    }
}
