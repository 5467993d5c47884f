//! Limits and fixed times.

use std::time::Duration;

/// Until the head of etcd's response.
pub const ETCD_REQUEST: Duration = Duration::from_secs(5);

/// Until a request failed at every endpoint.
pub const ETCD_TOTAL: Duration = Duration::from_secs(15);

/// The tables are compared at least this often, so that what another program changed is found even if the kernel's
/// notification was lost.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(10);

/// Changes that others make are collected for this time before the tables are compared.
pub const SETTLE: Duration = Duration::from_millis(50);

/// Reports of the watch that wait for the daemon.
pub const WATCH_QUEUE: usize = 64;

/// A message that repeats is logged again after this time.
pub const REPEAT_LOG: Duration = Duration::from_secs(60);
