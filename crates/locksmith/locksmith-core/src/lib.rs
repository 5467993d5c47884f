//! What locksmithd and locksmithctl decide: who may reboot when, and what comes next.
//!
//! The reboot lock is a semaphore in one key of the store, as locksmith 0.6 writes it; beside it stand notes of who
//! holds it since when and why. [`Life`] is the whole life of a daemon as a step machine: what happened goes in, what
//! is to be done comes out. It must never read a clock, wait, or write anything.

mod coordinator;
mod daemon_settings;
mod engine;
mod fleet_lock;
mod given;
mod key;
mod life;
mod limits;
mod notes;
mod semaphore;
mod settings;
mod stale;
mod strategy;
mod window;

pub use coordinator::{Coordinator, State as CoordinatorState};
pub use daemon_settings::{Daemon, DaemonSettings, daemon};
pub use engine::{EngineStatus, NEED_REBOOT, Sender};
pub use fleet_lock::{FleetLock, Refusal as FleetLockRefusal, Request as FleetLockRequest};
pub use given::{Environment, SettingError};
pub use key::{Keys, KeysError};
pub use life::{Acquired, Action, Event, Exit, Level, Life, NotLocked, Now, Rules};
pub use limits::{CAS_ATTEMPTS, cas_pause};
pub use notes::{Note, Notes};
pub use semaphore::{Acquire, LockError, Semaphore, SemaphoreError};
pub use settings::{DAEMON_FLAGS, FLAGS, Store, Tls, store};
pub use stale::{STALE_AFTER, Staleness, stale};
pub use strategy::{Strategy, UnknownStrategy};
pub use window::{Span, Window, WindowError};
