//! What a life is told, and what it asks for.

use std::time::Duration;

use jiff::Zoned;

use crate::coordinator::State;
use crate::engine::{EngineStatus, Sender};
use crate::strategy::Strategy;
use crate::window::Window;

/// Both clocks.
#[derive(Debug, Clone)]
pub struct Now {
    /// Since the process started; never set.
    pub running: Duration,
    /// The machine's, in its own zone.
    pub wall: Zoned,
}

/// What does not change while a daemon lives.
#[derive(Debug, Clone)]
pub struct Rules {
    /// With [`Strategy::Off`] the daemon releases what an earlier one holds, and exits.
    pub strategy: Strategy,
    pub window: Option<Window>,
    /// The lock is kept by a FleetLock server.
    pub fleet_lock: bool,
    /// An earlier daemon of this machine may hold the lock.
    pub may_hold_lock: bool,
    pub login_delay: Duration,
    pub retry_interval: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Started,
    /// The time that [`super::Life::sleep`] asked for is over, or something else woke us.
    Tick,
    /// The answer to the first `GetStatus` of an update agent.
    Engine(EngineStatus),
    /// The signal `StatusUpdate`.
    Status(Sender, EngineStatus),
    /// Ends [`Action::AskHealth`]: why it is not healthy.
    Health(Result<(), String>),
    /// Ends [`Action::AskEtcd`].
    EtcdHere(bool),
    /// Ends [`Action::AskInhibitors`]: one sentence each.
    Inhibitors(Vec<String>),
    /// Ends [`Action::Lock`].
    Locked(Result<Acquired, NotLocked>),
    /// Ends [`Action::Release`]: whether it was held.
    Released(Result<bool, String>),
    /// Ends [`Action::Drain`], whatever came of it.
    Drained,
    /// Ends [`Action::Undrain`].
    Undrained(Result<(), String>),
    /// Ends [`Action::Warn`]: how many terminals were reached.
    Warned(usize),
    /// Ends [`Action::Reboot`]: why it was refused.
    RebootSent(Result<(), String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    Now,
    /// This machine had it before.
    Before,
}

/// Why the lock was not acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLocked {
    /// It is not held.
    Refused(String),
    /// The answer was lost: it may be held.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Log(Level, String),
    Coordinate(State),
    AskHealth,
    /// Whether an etcd runs on this machine.
    AskEtcd,
    /// Who keeps the machine from going down.
    AskInhibitors,
    Lock {
        reason: String,
    },
    Release,
    /// Moves the units of the cluster manager away.
    Drain,
    /// Lets them back, where it was us who sent them away.
    Undrain,
    /// A line for everybody who is logged in.
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
