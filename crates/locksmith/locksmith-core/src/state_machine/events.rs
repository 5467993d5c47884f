//! Events, actions and configuration of the state machine.

use std::time::Duration;

use jiff::Zoned;

use crate::coordinator::State;
use crate::engine::{EngineStatus, SignalSender};
use crate::strategy::Strategy;
use crate::window::Window;

/// The current time on both clocks.
#[derive(Debug, Clone)]
pub struct Clocks {
    /// Monotonic, since the process started.
    pub monotonic: Duration,
    /// The machine's local time.
    pub wall: Zoned,
}

/// Configuration that is fixed while the daemon runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// With [`Strategy::Off`] the daemon releases what an earlier one holds, and exits.
    pub strategy: Strategy,
    pub window: Option<Window>,
    /// A FleetLock server keeps the lock.
    pub fleet_lock: bool,
    /// An earlier daemon of this machine may hold the lock.
    pub may_hold_lock: bool,
    pub login_delay: Duration,
    pub retry_interval: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Started,
    /// The timeout of [`super::StateMachine::timeout`] expired, or a spurious wakeup.
    Tick,
    /// The response to `GetStatus` when an update engine appears.
    EngineAppeared(EngineStatus),
    /// The signal `StatusUpdate`.
    StatusUpdate(SignalSender, EngineStatus),
    /// Completes [`Action::CheckHealth`]: why the machine is unhealthy.
    Health(Result<(), String>),
    /// Completes [`Action::CheckEtcd`].
    EtcdRunning(bool),
    /// Completes [`Action::ListInhibitors`]: one sentence each.
    Inhibitors(Vec<String>),
    /// Completes [`Action::Lock`].
    Locked(Result<Acquired, LockFailure>),
    /// Completes [`Action::Release`]: whether the lock was held.
    Released(Result<bool, String>),
    /// Completes [`Action::Drain`], also if it failed.
    Drained,
    /// Completes [`Action::Undrain`].
    Undrained(Result<(), String>),
    /// Completes [`Action::Warn`]: the number of terminals written to.
    Warned(usize),
    /// Completes [`Action::Reboot`]: why it was refused.
    RebootSent(Result<(), String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    New,
    /// Held by this machine before.
    AlreadyHeld,
}

/// Why the lock was not acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockFailure {
    /// The lock is not held.
    Refused(String),
    /// The response was lost: the lock may be held.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Log(Level, String),
    SetState(State),
    CheckHealth,
    /// Checks whether an etcd runs on this machine.
    CheckEtcd,
    /// Lists the shutdown inhibitors.
    ListInhibitors,
    Lock {
        reason: String,
    },
    Release,
    /// Moves this machine's fleet units to other machines.
    Drain,
    /// Undoes [`Action::Drain`], if this daemon drained the machine.
    Undrain,
    /// Writes one line to the terminals of logged-in users.
    Warn(String),
    Reboot,
    Exit(Exit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warning,
    Notice,
    Info,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success,
    Failure,
}
