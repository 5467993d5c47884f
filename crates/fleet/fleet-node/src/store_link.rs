//! Where this node stands towards the store, for all of its parts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// One for a node.
pub struct StoreLink {
    state: watch::Sender<LinkState>,
    /// Milliseconds of the node's clock, 0 for never: when it last told another node that it has no store.
    reported_no_store: AtomicU64,
    /// The machine stops its units and goes.
    leaving: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    /// When the beat was sent that was last known to succeed.
    pub last_heartbeat: Option<Duration>,
    /// Since when it is registered and the store answers: its API may be used.
    pub serving_since: Option<Duration>,
    pub fence: Fence,
}

impl LinkState {
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

impl StoreLink {
    pub fn new(last_heartbeat: Option<Duration>) -> Self {
        let state = LinkState { last_heartbeat, serving_since: None, fence: Fence::Open };
        Self {
            state: watch::Sender::new(state),
            reported_no_store: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    pub fn state(&self) -> LinkState {
        *self.state.borrow()
    }

    pub fn subscribe(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    pub fn heartbeat_succeeded(&self, last_heartbeat: Duration) {
        self.state.send_modify(|state| state.last_heartbeat = Some(last_heartbeat));
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// For good: a node that has left is not used again.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
    }

    pub fn set_serving(&self, since: Option<Duration>) {
        self.change(|state| state.serving_since = since);
    }

    pub fn set_fence(&self, fence: Fence) {
        self.change(|state| state.fence = fence);
    }

    fn change(&self, change: impl FnOnce(&mut LinkState)) {
        self.state.send_if_modified(|state| {
            let before = *state;
            change(state);
            before != *state
        });
    }

    /// To be called before another node is told. From then on this one takes no machine for dead for a TTL
    /// after it has the store back.
    pub fn will_report_no_store(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        self.reported_no_store.fetch_max(millis, Ordering::SeqCst);
    }

    pub fn reported_no_store(&self) -> Option<Duration> {
        match self.reported_no_store.load(Ordering::SeqCst) {
            0 => None,
            // Counted as if it were a moment later: milliseconds were cut.
            millis => Some(Duration::from_millis(millis + 1)),
        }
    }
}
