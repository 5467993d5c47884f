//! Watches as chunks of an answer.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;

use etcd_api::Event;

use crate::backend::{EventSource, Next, Watching};
use crate::event_texts::EventTexts;
use crate::server::{Chunk, Chunks};

/// The events of one watch, as JSON lines.
pub struct WatchChunks<W> {
    texts: Arc<EventTexts>,
    history: vec::IntoIter<Arc<Event>>,
    live: Option<W>,
    form: Form,
}

/// How events are written, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    One,
    Stream,
    /// One, in 0.4's first form.
    V1,
}

impl<W> WatchChunks<W> {
    pub(crate) fn new(texts: Arc<EventTexts>, watching: Watching<W>, form: Form) -> WatchChunks<W> {
        WatchChunks { texts, history: watching.history.into_iter(), live: watching.live, form }
    }

    fn chunk(&self, event: &Arc<Event>) -> Chunk {
        match self.form {
            Form::One => Chunk::Last(self.texts.get(event)),
            Form::Stream => Chunk::More(self.texts.get(event)),
            Form::V1 => Chunk::Last(self.texts.get_v1(event)),
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
