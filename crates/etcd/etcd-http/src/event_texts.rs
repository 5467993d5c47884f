//! Events as JSON, written once for all the watchers that get the same one.
//!
//! It must never serve a text whose `ttl` has moved on: the seconds left are part of what is compared.

use std::sync::{Arc, Mutex, PoisonError};

use etcd_api::{Event, Node, Timestamp};

use crate::server::Piece;

/// Events in flight at one moment; a power of two.
const SLOTS: usize = 16;

pub(crate) struct EventTexts {
    now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    slots: [Mutex<Option<Text>>; SLOTS],
}

#[derive(Debug)]
struct Text {
    event: Arc<Event>,
    seconds: [Option<i64>; 2],
    piece: Piece,
}

impl EventTexts {
    /// Their `ttl`s are reckoned by `now`.
    pub(crate) fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { now: Box::new(now), slots: Default::default() }
    }

    /// The event's line.
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
            return text.piece.clone();
        }
        let piece = Piece::new(&event.to_json_line(now));
        *slot = Some(Text { event: Arc::clone(event), seconds, piece: piece.clone() });
        piece
    }

    /// The same in 0.4's first form.
    pub(crate) fn get_v1(&self, event: &Event) -> Piece {
        Piece::new(&event.to_v1_json(None, (self.now)()))
    }
}
