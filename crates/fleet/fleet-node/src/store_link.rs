//! State of the connection to the store, shared by all parts of the node.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// One per node.
pub struct StoreLink {
    state: watch::Sender<LinkState>,
    /// When this node last reported to a peer that it has no store: milliseconds of the node's clock, 0 for never.
    reported_no_store: AtomicU64,
    /// The machine is leaving the cluster.
    leaving: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    /// When the last successful heartbeat was sent.
    pub last_heartbeat: Option<Duration>,
    /// Since when the machine is registered and the store reachable, so that the API may be used.
    pub serving_since: Option<Duration>,
    pub fence: Fence,
}

impl LinkState {
    pub fn is_serving(&self) -> bool {
        self.serving_since.is_some()
    }
}

/// How to treat units that another machine might take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fence {
    Open,
    /// Stop them and start none.
    Stop,
    /// Kill what still runs.
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

    /// Permanent: a node that has left is not reused.
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

    /// Must be called before the report is sent. From then on this node considers no machine failed until a TTL after
    /// the store is reachable again.
    pub fn will_report_no_store(&self, now: Duration) {
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).max(1);
        self.reported_no_store.fetch_max(millis, Ordering::SeqCst);
    }

    pub fn reported_no_store(&self) -> Option<Duration> {
        match self.reported_no_store.load(Ordering::SeqCst) {
            0 => None,
            // Rounded up, since milliseconds were truncated.
            millis => Some(Duration::from_millis(millis + 1)),
        }
    }
}
