//! Every limit of a member. All are fixed at compile time.

use std::time::Duration;

/// Pending proposals of a member; more are rejected.
pub const MAX_PENDING_PROPOSALS: usize = 16_384;
/// Bytes of a member's pending proposals. A single larger command is accepted when none is pending.
pub const MAX_PENDING_BYTES: usize = 256 << 20;
/// Pending quorum reads of a member; more are rejected.
pub const MAX_PENDING_READS: usize = 65_536;
/// Commands in one log entry.
pub const MAX_BATCH_COMMANDS: usize = 1_024;
/// Bytes of commands in one log entry. A larger command gets an entry of its own.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// The largest encoded command: a form body of 10 MiB, its key and the fields.
pub const MAX_COMMAND_BYTES: usize = 12 << 20;
/// Batches of a member in flight to the leader. More would only queue elsewhere.
pub const MAX_BATCHES_IN_FLIGHT: usize = 4;

/// The largest message between members.
pub const MAX_FRAME_BYTES: usize = 64 << 20;
/// Queued requests of one peer connection.
pub const PEER_QUEUE: usize = 1_024;
/// Bytes of requests in flight on one connection; one more request may start below this. A leader stays below it, so
/// that its pings are not delayed.
pub const MAX_PEER_BYTES_IN_FLIGHT: usize = MAX_APPENDS_IN_FLIGHT * LOG_READ_BYTES + MAX_FRAME_BYTES;
/// Pings of one connection that are measured concurrently.
pub const MAX_PINGS_IN_FLIGHT: usize = 16;
/// Append requests in flight from a leader to one follower.
pub const MAX_APPENDS_IN_FLIGHT: usize = 32;
/// An idle peer connection is closed after this time; members ping each other many times a second. Data sent before a
/// partition must not arrive long after it.
pub const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout for connect, TLS and the handshake together.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The initial and the maximum delay between two attempts to connect.
pub const REDIAL_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The longest head of the HTTP response to an upgrade request.
pub const MAX_UPGRADE_HEAD_BYTES: usize = 8 << 10;
/// The size of a snapshot chunk in bytes.
pub const SNAPSHOT_CHUNK: usize = 256 << 10;
/// The timeout of one call of a snapshot transfer, including its installation.
pub const SNAPSHOT_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The timeout of a forwarded proposal, after which it is retried.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The additional timeout for each KiB of a proposal: 4 MiB/s.
pub const PROPOSE_TIMEOUT_PER_KIB: Duration = Duration::from_micros(250);
/// The timeout of a read index request, after which it is retried.
pub const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(1);
/// The delay before a rejected proposal or read index request is retried.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Slower flushes of the log are logged: they delay every write.
pub const SLOW_FLUSH: Duration = Duration::from_secs(1);
/// The interval between two attempts to write to a full disk.
pub const FULL_DISK_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// A leader whose disk stays full this long transfers its leadership to a member with free space.
pub const FULL_LEADER_TRANSFER_DELAY: Duration = Duration::from_secs(1);
/// With less free space a write may be short. The largest record is slightly larger than a command.
pub const LOW_DISK_SPACE_BYTES: u64 = 16 << 20;
/// Bytes of recent log entries cached in memory for followers and for the state machine.
pub const LOG_CACHE_BYTES: usize = 16 << 20;
/// Bytes of log entries per read, for a follower or for the state machine.
pub const LOG_READ_BYTES: usize = 4 << 20;
/// Bytes of log after which a checkpoint is written, regardless of the number of entries.
pub const CHECKPOINT_LOG_BYTES: u64 = 64 << 20;
/// The longest time between a change and its checkpoint.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// Entries kept behind a checkpoint for slow followers (contract 9), as etcd's `DefaultSnapshotCatchUpEntries`.
pub const SNAPSHOT_CATCH_UP_ENTRIES: u64 = 5_000;
/// The maximum size of the database. LMDB only reserves address space for it.
pub const MAX_DATABASE_BYTES: usize = 64 << 30;

/// The interval of the leader's search for expired keys (contract 7.3).
pub const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
/// The cluster's time is slewed towards the leader's clock by this fraction of the elapsed time. Clients refresh a
/// key with more margin than that.
pub const CLOCK_SLEW_DIVISOR: u32 = 50;
/// A time report is ignored if its round trip took longer.
pub const MAX_TIME_REPORT_DELAY: Duration = Duration::from_secs(1);
/// The cluster's time is recorded again when the last record is off by the tolerance, or this old.
pub const TIME_RECORD_TOLERANCE: Duration = Duration::from_millis(50);
pub const TIME_RECORD_INTERVAL: Duration = Duration::from_secs(60);
/// A record from another boot that is further ahead of the clock is ignored: the clock was wrong.
pub const MAX_TIME_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// A larger offset between the machine's clock and the cluster's time is logged.
pub const CLOCK_OFFSET_WARNING: Duration = Duration::from_secs(1);
/// The interval at which the leader reconciles raft's configuration with the members.
pub const MEMBERSHIP_INTERVAL: Duration = Duration::from_millis(200);
/// A learner within this many entries of the leader becomes a voter.
pub const MAX_LEARNER_LAG: u64 = 1_000;
/// Committed log entries that are applied in one batch, after one update of the read watermark.
pub const APPLY_BATCH_ENTRIES: usize = 64;
/// Events queued for a slow watcher before its watch is closed.
pub const WATCH_QUEUE: usize = 1_024;
/// The timeout of a request in addition to two election timeouts (contract 7.6).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The time that a stopping leader waits for its successor.
pub const LEADER_TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout and the interval for reading the data of a running member, which may remove a file at any moment.
pub const DATA_READ_TIMEOUT: Duration = Duration::from_secs(10);
pub const DATA_READ_RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// The first segment of a copied log, which holds only where the log continues.
pub const COPIED_LOG_SEGMENT_BYTES: u64 = 64 << 10;
