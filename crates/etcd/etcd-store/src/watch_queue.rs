//! The bounded queue between a hub and one watch: empty until something happens, so that a watch that waits
//! costs one small allocation.
//!
//! It must never block the store, nor drop an event without closing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use etcd_api::Event;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    closed: bool,
    waker: Option<Waker>,
}

/// The hub's end.
#[derive(Debug)]
pub struct Sender(Weak<Mutex<Queue>>);

/// The watch's end.
#[derive(Debug)]
pub struct Receiver(Arc<Mutex<Queue>>);

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Queued,
    /// The reader left or was too slow: this watch is over.
    Over,
}

pub fn watch_queue() -> (Sender, Receiver) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (Sender(Arc::downgrade(&queue)), Receiver(queue))
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// Queues an event, unless `limit` wait already; wakes the reader.
    pub fn send(&self, event: &Arc<Event>, limit: usize) -> Sent {
        let Some(queue) = self.0.upgrade() else { return Sent::Over };
        let mut queue = lock(&queue);
        if queue.events.len() >= limit {
            queue.closed = true;
            return Sent::Over;
        }
        queue.events.push_back(Arc::clone(event));
        let waker = queue.waker.take();
        // Not under the lock: who is woken takes it first thing.
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Sent::Queued
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let Some(queue) = self.0.upgrade() else { return };
        let mut queue = lock(&queue);
        queue.closed = true;
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }
}

impl Receiver {
    /// The next event; after the last queued one: none, when the sender is gone or the reader was too slow.
    pub fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        let mut queue = lock(&self.0);
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if queue.closed {
            return Poll::Ready(None);
        }
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            queue.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}
