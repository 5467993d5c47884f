//! Limits and fixed times.

use std::time::Duration;

/// Until the head of etcd's response.
pub const ETCD_REQUEST: Duration = Duration::from_secs(5);

/// Until a request failed at every endpoint.
pub const ETCD_TOTAL: Duration = Duration::from_secs(15);

/// Device and tables are compared as a whole this often. The kernel reports changes, so that this finds only what no
/// notification reports, such as a WireGuard peer that another program removed.
pub const FULL_COMPARISON: Duration = Duration::from_secs(60);

/// After a change that failed, tables are compared again after this time.
pub const FAILED_CHANGE: Duration = Duration::from_secs(10);

/// Timers do not run while the machine sleeps: what is due by the clock of the boot is checked at least this often.
pub const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// Changes that others make are collected for this time before the tables are compared.
pub const SETTLE: Duration = Duration::from_millis(50);

/// Reports of the watch that wait for the daemon.
pub const WATCH_QUEUE: usize = 64;

/// A message that repeats is logged again after this time.
pub const REPEAT_LOG: Duration = Duration::from_secs(60);

/// Bytes of the largest packet of IPv4.
pub const MAX_PACKET: usize = 65_535;

/// Bytes that are read of a key file; a key has 44.
pub const MAX_KEY_FILE: u64 = 1024;
