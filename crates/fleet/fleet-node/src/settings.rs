//! Configuration of a node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::{Capacity, FenceKey, MachineId};
use unit_file::{UnitHash, UnitName};

use crate::limits::REQUEST_TIMEOUT;
use crate::unit_manager::Peer;

#[derive(Clone)]
pub struct Settings {
    pub machine_id: MachineId,
    /// May be empty. Evaluated with each heartbeat, since addresses change.
    pub public_ip: Arc<dyn Fn() -> String + Send + Sync>,
    pub metadata: BTreeMap<String, String>,
    pub capacity: Capacity,
    pub version: String,
    /// TTL of presence and states.
    pub ttl: Duration,
    /// Renewal interval of the engine's lease. Its TTL is five intervals.
    pub engine_interval: Duration,
    pub disable_engine: bool,
    /// Polls the registry each interval instead of watching it.
    pub disable_watches: bool,
    /// Timeout of one request to the store.
    pub store_timeout: Duration,
    /// Unique id of this start of fleetd.
    pub instance: String,
    /// Earlier starts on this machine. A presence written by one of them belongs to this machine.
    pub previous_instances: Vec<String>,
    /// State of an earlier fleetd, if it ran within the same boot.
    pub saved_state: Option<SavedState>,
    /// Units that it had launched, with the hashes of their files.
    pub launched: BTreeMap<UnitName, UnitHash>,
    /// Random. Stored if the cluster has no fence key.
    pub new_fence_key: FenceKey,
    pub clock: Clock,
    pub jitter: Jitter,
}

/// Called with the state that the next fleetd on this machine needs, when it has changed.
pub type SaveState = Arc<dyn Fn(&SavedState) + Send + Sync>;

/// State that a node needs if it starts without the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// When the last successful heartbeat was sent, on the clock of [`Settings`].
    pub last_heartbeat: Duration,
    /// The other machines.
    pub peers: Vec<Peer>,
    pub fence_key: Option<FenceKey>,
    /// When they were last queried and all reported that they have no store.
    pub without_store_at: Option<Duration>,
}

/// Random fractions from 0 to 1. Not for secrets.
#[derive(Clone)]
pub struct Jitter(pub Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    pub fn fraction(&self) -> f64 {
        (self.0)()
    }
}

/// A monotonic clock that includes suspend (`CLOCK_BOOTTIME`).
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub fn now(&self) -> Duration {
        (self.0)()
    }
}

impl Settings {
    pub fn lease_ttl(&self) -> Duration {
        self.engine_interval * 5
    }

    pub fn heartbeat_interval(&self) -> Duration {
        self.ttl / 2
    }

    /// Of published unit states. The original's interval.
    pub fn renewal_interval(&self) -> Duration {
        self.ttl * 4 / 5
    }

    /// After this time without a successful heartbeat the store counts as unreachable.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.ttl / 3
    }

    /// Of a client's request: more than two attempts at the store.
    pub fn request_timeout(&self) -> Duration {
        REQUEST_TIMEOUT.max(self.store_timeout.mul_f64(2.5))
    }

    /// Between the starts of two attempts.
    pub fn retry_interval(&self) -> Duration {
        self.ttl / 12
    }
}
