//! Where this node stands towards the store, for all of its parts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// One for a node.
pub struct Contact {
    standing: watch::Sender<Standing>,
    /// Milliseconds of the node's clock, 0 for never: when it last told another node that it has no store.
    told_without: AtomicU64,
    /// The machine stops its units and goes.
    leaving: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// When the beat was sent that was last known to succeed.
    pub sent: Option<Duration>,
    /// Since when it is registered and the store answers: its API may be used.
    pub serving_since: Option<Duration>,
    pub fence: Fence,
}

impl Standing {
    pub fn is_serving(&self) -> bool {
        self.serving_since.is_some()
    }
}

/// What is done with units that another machine might take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fence {
    Open,
    /// They are stopped, and none is started.
    Stop,
    /// What still runs is killed.
    Kill,
}

impl Contact {
    pub fn new(sent: Option<Duration>) -> Self {
        let standing = Standing { sent, serving_since: None, fence: Fence::Open };
        Self {
            standing: watch::Sender::new(standing),
            told_without: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    pub fn follow(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    pub fn beat_succeeded(&self, sent: Duration) {
        self.standing.send_modify(|standing| standing.sent = Some(sent));
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// For good: a node that has left is not used again.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    pub fn set_serving(&self, since: Option<Duration>) {
        self.change(|standing| standing.serving_since = since);
    }

    pub fn set_fence(&self, fence: Fence) {
        self.change(|standing| standing.fence = fence);
    }

    fn change(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_if_modified(|standing| {
            let before = *standing;
            change(standing);
            before != *standing
        });
    }

    /// To be called before another node is told. From then on this one takes no machine for dead for a TTL
    /// after it has the store back.
    pub fn will_tell_without(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        self.told_without.fetch_max(millis, Ordering::SeqCst);
    }

    pub fn told_without(&self) -> Option<Duration> {
        match self.told_without.load(Ordering::SeqCst) {
            0 => None,
            // Counted as if it were a moment later: milliseconds were cut.
            millis => Some(Duration::from_millis(millis + 1)),
        }
    }
}
