//! How long what is asked may take, and how much of it is read.

use std::time::Duration;

/// Until an etcd begins to answer, and for all attempts of one request.
pub const ETCD_REQUEST: Duration = Duration::from_secs(5);
pub const ETCD_TOTAL: Duration = Duration::from_secs(15);

/// Time without an answer after which a command reports what it waits for.
pub const SILENCE: Duration = Duration::from_secs(3);

/// For one request to the cluster manager, or to a FleetLock server.
pub const HTTP_REQUEST: Duration = Duration::from_secs(15);

/// What a FleetLock server answers is a sentence.
pub const FLEET_LOCK_BYTES: usize = 64 * 1024;

/// A call over D-Bus.
pub const CALL: Duration = Duration::from_secs(25);

/// Between two looks at the units that move away.
pub const DRAIN_LOOK: Duration = Duration::from_millis(500);

/// Between two looks for a cluster manager that is to have this machine back.
pub const FLEET_LOOK: Duration = Duration::from_secs(30);

/// How long the signal's sender stays on the bus, to be asked about.
pub const SENDER_STAYS: Duration = Duration::from_secs(1);
