//! Timeouts, polling intervals and size limits of I/O.

use std::time::Duration;

/// The timeout of one endpoint, and of all attempts of one request.
pub const ETCD_REQUEST: Duration = Duration::from_secs(5);
pub const ETCD_TOTAL: Duration = Duration::from_secs(15);

/// How long a command waits silently before it reports a slow endpoint.
pub const SLOW_REPORT_AFTER: Duration = Duration::from_secs(3);

/// One request to the cluster manager or to a FleetLock server.
pub const HTTP_REQUEST: Duration = Duration::from_secs(15);

/// A FleetLock response is one sentence.
pub const MAX_FLEET_LOCK_BYTES: usize = 64 * 1024;

/// One D-Bus call.
pub const DBUS_CALL: Duration = Duration::from_secs(25);

/// How long a stopping daemon waits for logind's reply to a reboot request.
pub const REBOOT_REPLY: Duration = Duration::from_secs(5);

/// How often the drained machine's units are polled.
pub const DRAIN_POLL: Duration = Duration::from_millis(500);

/// How often the cluster manager is polled while an undrain is pending.
pub const FLEET_POLL: Duration = Duration::from_secs(30);

/// How long the sender of a signal stays on the bus, so that receivers can look up its user.
pub const SENDER_LINGER: Duration = Duration::from_secs(1);
