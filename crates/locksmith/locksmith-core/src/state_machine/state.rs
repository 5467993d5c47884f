//! The states. Each has exactly the data that exists in it.

use std::time::Duration;

use crate::engine::SignalSender;

#[derive(Debug, Clone)]
pub enum State {
    /// No reboot is requested.
    Idle(Option<Settle>),
    /// The request waits for its next attempt or the window.
    Planned(Boot, Plan),
    /// The request may be withdrawn or made meanwhile.
    InProgress(Step, Option<Plan>),
    /// Drained, after the warning. A withdrawn request is rolled back immediately.
    Delaying {
        until: Duration,
        lock: Lock,
        plan: Plan,
    },
    /// Drained. The request can no longer be withdrawn.
    RequestingReboot(Lock, Plan),
    Rebooting {
        until: Duration,
    },
}

/// The action in progress. All steps except `ReleaseBackoff` complete with an event.
#[derive(Debug, Clone)]
pub enum Step {
    Settling(SettleStep, Settle),
    ListingInhibitors(Boot),
    CheckingEtcd(Boot),
    Locking(Boot),
    /// Counts as drained: a partial drain must be undone too.
    Draining(Lock),
    /// Drained.
    Warning(Lock),
    /// Rolls back [`Step::Draining`], then releases the lock.
    Undraining(Lock),
    /// The lock is held.
    Releasing(Option<Settle>),
    /// The lock is held.
    ReleaseBackoff {
        until: Duration,
        settle: Option<Settle>,
    },
}

#[derive(Debug, Clone, Copy)]
pub enum SettleStep {
    CheckingHealth,
    Undraining,
    CheckingEtcd,
    Releasing,
}

/// What may have to be released although no lock is held for the pending reboot.
#[derive(Debug, Clone)]
pub enum Boot {
    /// A lock belongs to an earlier boot, and settling releases it, whatever its state.
    Unsettled(Settle),
    Settled,
    /// Settled, but an acquire attempt has an unknown result: the lock may be held.
    LockUnknown,
}

/// The lock of the pending reboot.
#[derive(Debug, Clone)]
pub enum Lock {
    /// Released if the reboot is rolled back. `None`: this boot has settled.
    Held(Option<Settle>),
    NotHeld(Boot),
}

/// When this boot settles next.
#[derive(Debug, Clone)]
pub struct Settle {
    pub at: Duration,
    pub backoff: Duration,
    /// The health problem logged last.
    pub logged_reason: String,
}

/// A pending request to reboot this machine.
#[derive(Debug, Clone)]
pub struct Plan {
    pub sender: SignalSender,
    pub version: String,
    /// No attempt before this time.
    pub retry_at: Duration,
    /// Waiting for the window was logged.
    pub window_wait_logged: bool,
    /// The inhibitors logged last.
    pub logged_inhibitors: Vec<String>,
}

impl Plan {
    pub fn new(sender: SignalSender, version: String) -> Self {
        Self {
            sender,
            version,
            retry_at: Duration::ZERO,
            window_wait_logged: false,
            logged_inhibitors: Vec::new(),
        }
    }

    /// Handles a repeated request. Only the engine's own status carries a version and may be withdrawn by the
    /// engine.
    pub fn repeat(&mut self, sender: SignalSender, version: String) {
        if sender == SignalSender::Engine {
            self.sender = sender;
            self.version = version;
        }
    }
}

impl Settle {
    pub fn new(at: Duration, backoff: Duration) -> Self {
        Self { at, backoff, logged_reason: String::new() }
    }
}

impl From<Option<Settle>> for Boot {
    fn from(settle: Option<Settle>) -> Self {
        settle.map_or(Self::Settled, Self::Unsettled)
    }
}

impl Lock {
    /// Starts to settle with `settle` unless this boot settles already.
    pub fn unsettle(self, settle: Settle) -> Self {
        match self {
            Self::Held(before) => Self::Held(before.or(Some(settle))),
            Self::NotHeld(Boot::Settled | Boot::LockUnknown) => Self::NotHeld(Boot::Unsettled(settle)),
            unsettled @ Self::NotHeld(Boot::Unsettled(_)) => unsettled,
        }
    }
}
