//! Every limit of a member, in one place. Nothing here is decided at run time.

use std::time::Duration;

/// Proposals of one member that wait for their result; more are refused at once.
pub const MAX_PENDING_PROPOSALS: usize = 16_384;
/// Bytes of one member's waiting proposals; one larger command alone is still taken.
pub const MAX_PENDING_BYTES: usize = 256 << 20;
/// Quorum reads of one member that wait; more are refused at once.
pub const MAX_PENDING_READS: usize = 65_536;
/// Commands in one log entry.
pub const MAX_BATCH_COMMANDS: usize = 1_024;
/// Bytes of commands in one log entry; one larger command alone makes an entry of its own.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// The largest encoded command: a form body of 10 MiB with its path, and room for the fields.
pub const MAX_COMMAND_BYTES: usize = 12 << 20;
/// Batches that one member may have on their way into the log. More would only wait elsewhere.
pub const MAX_BATCHES_IN_FLIGHT: usize = 4;

/// One message between members.
pub const MAX_FRAME_BYTES: usize = 64 << 20;
/// Requests that wait for their turn on one peer connection.
pub const PEER_QUEUE: usize = 1_024;
/// Bytes of requests that one connection has being handled; one more may begin below that. A leader never has so many on their
/// way: its pings would wait behind them.
pub const MAX_PEER_BYTES_IN_FLIGHT: usize = MAX_APPENDS_IN_FLIGHT * LOG_READ_BYTES + MAX_FRAME_BYTES;
/// Pings of one connection that are measured at a time.
pub const MAX_PINGS_IN_FLIGHT: usize = 16;
/// Append requests that one leader keeps on their way to one follower.
pub const MAX_APPENDS_IN_FLIGHT: usize = 32;
/// A peer connection without traffic for this time is closed: members ping each other many times a second. What its other
/// end sent before a partition is not to arrive long after it.
pub const PEER_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connecting, TLS and the two hellos together.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// The shortest and the longest pause between two attempts to reach a member.
pub const REDIAL_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Longest head of the HTTP answer to the upgrade request.
pub const MAX_UPGRADE_HEAD_BYTES: usize = 8 << 10;
/// One piece of a snapshot on the wire.
pub const SNAPSHOT_CHUNK: usize = 256 << 10;
/// One call while a snapshot is sent, installing it included.
pub const SNAPSHOT_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// A leader that does not answer a proposal for this long is asked again.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// And for each KiB of the proposal this much longer: 4 MiB/s.
pub const PROPOSE_TIMEOUT_PER_KIB: Duration = Duration::from_micros(250);
/// The same as [`PROPOSE_TIMEOUT`] for the question up to where a quorum read must see.
pub const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(1);
/// A leader that cannot take a batch now, or not say up to where a read must see, is asked again after this long.
pub const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// A flush of the log that takes longer is told of: all writes wait for it.
pub const SLOW_FLUSH: Duration = Duration::from_secs(1);
/// A full disk is looked at again after this long.
pub const FULL_DISK_RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// A leader whose disk has no room for this long hands over to a member that has some.
pub const FULL_LEADER_TRANSFER_DELAY: Duration = Duration::from_secs(1);
/// A disk with less may cut a write short; the largest record is a little more than a command.
pub const LOW_DISK_SPACE_BYTES: u64 = 16 << 20;
/// Bytes of recent log entries kept in memory for followers and for the state machine.
pub const LOG_CACHE_BYTES: usize = 16 << 20;
/// Bytes of log entries read at once, for a follower or for the state machine.
pub const LOG_READ_BYTES: usize = 4 << 20;
/// Log bytes between two checkpoints, whatever the count of entries is.
pub const CHECKPOINT_LOG_BYTES: u64 = 64 << 20;
/// A change waits no longer than this for its checkpoint.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);
/// Entries kept behind a checkpoint for slow followers (contract 9).
pub const SNAPSHOT_CATCH_UP_ENTRIES: u64 = 5_000;
/// The largest database file; LMDB only reserves addresses for it.
pub const MAX_DATABASE_BYTES: usize = 64 << 30;

/// The leader looks for expired nodes this often (contract 7.3).
pub const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
/// The time that nodes end by follows the leader's clock, where that was set, by a part of the time that passes:
/// holders of a node renew it with more than that to spare.
pub const CLOCK_SLEW_DIVISOR: u32 = 50;
/// What a member says of the time in an answer that took longer is not believed.
pub const MAX_TIME_REPORT_DELAY: Duration = Duration::from_secs(1);
/// The cluster's time is recorded again when the last record is off by this, or this old.
pub const TIME_RECORD_TOLERANCE: Duration = Duration::from_millis(50);
pub const TIME_RECORD_INTERVAL: Duration = Duration::from_secs(60);
/// A record of another boot that is further ahead of the clock than this is ignored: the clock was wrong then.
pub const MAX_TIME_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// A clock that differs by more from the cluster's time is worth a word.
pub const CLOCK_OFFSET_WARNING: Duration = Duration::from_secs(1);
/// The leader compares the members with raft's configuration this often.
pub const MEMBERSHIP_INTERVAL: Duration = Duration::from_millis(200);
/// A learner this close behind the leader becomes a voter.
pub const MAX_LEARNER_LAG: u64 = 1_000;
/// Committed log entries that are noted as shown, and applied, together.
pub const APPLY_BATCH_ENTRIES: usize = 64;
/// Events that wait for one slow watcher before its watch is closed.
pub const WATCH_QUEUE: usize = 1_024;
/// What a request may take besides two election timeouts (contract 7.6).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stopping leader waits for another member to take over.
pub const LEADER_TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);

/// Reading the data of a member that runs is tried again for this long, and this often: it may remove a file of it
/// at any moment.
pub const DATA_READ_TIMEOUT: Duration = Duration::from_secs(10);
pub const DATA_READ_RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// The first segment of a copy's log: it holds nothing but where the log goes on.
pub const COPIED_LOG_SEGMENT_BYTES: u64 = 64 << 10;
