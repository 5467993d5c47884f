//! Watches as streamed responses.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use etcd_api::Event;

use crate::backend::{EventSource, Next, OpenWatch};
use crate::event_cache::EventCache;
use crate::server::{Chunk, Chunks};

/// The events of a watch, as JSON lines.
pub struct WatchChunks<W> {
    event_cache: Arc<EventCache>,
    history: vec::IntoIter<Arc<Event>>,
    live: Option<W>,
    form: WatchFormat,
}

/// Format and number of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchFormat {
    Single,
    Stream,
    /// A single event in the v1 format.
    V1,
}

impl<W> WatchChunks<W> {
    pub(crate) fn new(
        event_cache: Arc<EventCache>,
        watching: OpenWatch<W>,
        form: WatchFormat,
    ) -> WatchChunks<W> {
        WatchChunks { event_cache, history: watching.history.into_iter(), live: watching.live, form }
    }

    fn chunk(&self, event: &Arc<Event>) -> Chunk {
        match self.form {
            WatchFormat::Single => Chunk::Last(self.event_cache.get(event)),
            WatchFormat::Stream => Chunk::More(self.event_cache.get(event)),
            WatchFormat::V1 => Chunk::Last(self.event_cache.get_v1(event)),
        }
    }
}

impl<W: EventSource> Chunks for WatchChunks<W> {
    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Chunk> {
        if let Some(event) = self.history.next() {
            return Poll::Ready(self.chunk(&event));
        }
        let Some(live) = &mut self.live else { return Poll::Ready(Chunk::Close) };
        live.poll_event(context).map(|next| match next {
            Next::Event(event) => self.chunk(&event),
            Next::Closed => Chunk::Close,
        })
    }
}
