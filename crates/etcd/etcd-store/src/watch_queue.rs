//! The bounded queue between a hub and a watch. Empty until the first event, so a waiting watch costs one small
//! allocation.
//!
//! It never blocks the store, and never drops an event without closing the watch.

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

/// Result of sending an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    /// The reader will receive it.
    Queued,
    /// The reader was dropped or too slow: the watch is closed.
    Closed,
}

/// A queue whose ends are owned by the hub and by the watch.
pub fn watch_queue() -> (Sender, Receiver) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (Sender(Arc::downgrade(&queue)), Receiver(queue))
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// Queues an event, unless there are `limit` already, and wakes the reader.
    pub fn send(&self, event: &Arc<Event>, limit: usize) -> SendResult {
        let Some(queue) = self.0.upgrade() else { return SendResult::Closed };
        let mut queue = lock(&queue);
        if queue.events.len() >= limit {
            queue.closed = true;
            return SendResult::Closed;
        }
        queue.events.push_back(Arc::clone(event));
        let waker = queue.waker.take();
        // After unlocking: the woken reader locks first.
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        SendResult::Queued
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
    /// The next event. After the last queued one `None`, if the sender was dropped or the reader was too slow.
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
