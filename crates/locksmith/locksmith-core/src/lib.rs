//! The decision logic of locksmithd and locksmithctl: which machine may reboot, and when.
//!
//! The reboot lock is a semaphore in one etcd key, in the format of locksmith 0.6, with metadata of its holders
//! in a second key. [`StateMachine`] is the daemon: it takes events and returns actions. This crate never reads
//! a clock, waits, or does I/O.

mod coordinator;
mod daemon_settings;
mod engine;
mod fleet_lock;
mod key;
mod limits;
mod metadata;
mod semaphore;
mod settings;
mod staleness;
mod state_machine;
mod strategy;
mod window;

pub use coordinator::{Coordinator, State as CoordinatorState};
pub use daemon_settings::{DaemonMode, DaemonSettings, daemon_mode};
pub use engine::{EngineStatus, NEED_REBOOT, SignalSender};
pub use fleet_lock::{FleetLock, Refusal as FleetLockRefusal, Request as FleetLockRequest};
pub use key::{Keys, KeysError};
pub use limits::{CAS_ATTEMPTS, cas_backoff};
pub use metadata::{HolderMetadata, LockMetadata};
pub use semaphore::{Acquire, LockError, Semaphore, SemaphoreError};
pub use settings::{DAEMON_FLAGS, FLAGS, StoreSettings, Tls, store_settings};
pub use staleness::{STALE_AFTER, Staleness, staleness};
pub use state_machine::{Acquired, Action, Clocks, Config, Event, Exit, Level, LockFailure, StateMachine};
pub use strategy::{Strategy, UnknownStrategy};
pub use window::{Span, Window, WindowError};
