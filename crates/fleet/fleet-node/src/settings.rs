//! What a node is told about itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleet_core::{Capacity, MachineId};
use unit_file::{UnitHash, UnitName};

use crate::unit_manager::Peer;

#[derive(Clone)]
pub struct Settings {
    pub machine_id: MachineId,
    /// May be empty. Asked for with each beat: addresses come and go.
    pub public_ip: Arc<dyn Fn() -> String + Send + Sync>,
    pub metadata: BTreeMap<String, String>,
    pub capacity: Capacity,
    pub version: String,
    /// How long presence and states outlive the last word about them.
    pub ttl: Duration,
    /// Between two renewals of the engine's lease, which lives for five of them.
    pub engine_interval: Duration,
    pub disable_engine: bool,
    /// Everything is read each interval, and nothing is followed.
    pub disable_watches: bool,
    /// Which start of the program this is: no other has the same.
    pub instance: String,
    /// Earlier starts on this machine: a presence that one of them wrote is ours.
    pub previous_instances: Vec<String>,
    /// What an earlier start on this machine knew, if it ran in the same run of the machine.
    pub saved_state: Option<SavedState>,
    /// Units that it had launched, with their texts.
    pub launched: BTreeMap<UnitName, UnitHash>,
    pub clock: Clock,
    pub jitter: Jitter,
}

/// What a node has to know when it starts without the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// When the beat was sent that was last known to succeed, on the clock of [`Settings`].
    pub last_heartbeat: Duration,
    /// The other machines.
    pub peers: Vec<Peer>,
}

/// Any number from 0 to 1, for who should not do the same at the same moment. Not for secrets.
#[derive(Clone)]
pub struct Jitter(pub Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    pub fn fraction(&self) -> f64 {
        (self.0)()
    }
}

/// A time that never goes back, and goes on while the machine sleeps.
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

    /// Between two beats of the presence.
    pub fn heartbeat_interval(&self) -> Duration {
        self.ttl / 2
    }

    /// Between two renewals of what is said of a unit, as the original's.
    pub fn renewal_interval(&self) -> Duration {
        self.ttl * 4 / 5
    }

    /// So long a beat is tried before the store counts as away.
    pub fn heartbeat_timeout(&self) -> Duration {
        self.ttl / 3
    }

    /// Between the beginnings of two tries.
    pub fn retry_interval(&self) -> Duration {
        self.ttl / 12
    }
}
