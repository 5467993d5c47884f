//! Events as JSON, written once for all the watchers that get the same one.
//!
//! It must never serve a text whose `ttl` has moved on: the seconds left are part of what is compared.

use std::sync::{Arc, Mutex, PoisonError};

use etcd_api::{Event, Node, Timestamp};

use crate::server::Piece;

/// Events in flight at one moment; a power of two.
const SLOTS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct EventTexts([Mutex<Option<Text>>; SLOTS]);

#[derive(Debug)]
struct Text {
    event: Arc<Event>,
    seconds: [Option<i64>; 2],
    piece: Piece,
}

impl EventTexts {
    /// The event's line.
    pub(crate) fn get(&self, event: &Arc<Event>, now: Timestamp) -> Piece {
        let left = |node: &Node| node.expiration.map(|at| at.seconds_left(now));
        let seconds = [left(&event.node), event.prev_node.as_ref().and_then(left)];
        let slot = &self.0[event.index() as usize % SLOTS];
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
}
