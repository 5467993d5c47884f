//! What can grow, and how far.

use std::time::Duration;

/// Longest election timeout that is taken: beyond it a lost leader would be noticed too late to matter.
pub const MAX_ELECTION_TIMEOUT_MS: u64 = 50_000;
/// An election timeout is at least so many heartbeats, or one late heartbeat would cost the leader its place.
pub const HEARTBEATS_PER_ELECTION: u64 = 5;
/// Members of an initial cluster. Raft's majorities get slower with each; seven is the usual most.
pub const MAX_MEMBERS: usize = 63;
/// URLs of one list, or of one member.
pub const MAX_URLS: usize = 32;
/// Bytes of one value on the command line, in the environment or in a file.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Bytes of `-config-file` and `-peers-file`.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Discovery: first wait after a failed request; doubled after each further one.
pub const DISCOVERY_FIRST_RETRY: Duration = Duration::from_secs(2);
/// Discovery: the waits grow no further than this, so that a service that comes back is noticed.
pub const DISCOVERY_LONGEST_RETRY: Duration = Duration::from_secs(256);
/// Discovery: a request (not a watch) that has no answer by then has failed.
pub const DISCOVERY_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Discovery: how often the size key and the registration are tried when the service does not answer.
pub const DISCOVERY_TRIES: u32 = 3;

/// `-peers`: pause between two rounds of asking all listed peers.
pub const PEERS_ROUND: Duration = Duration::from_millis(500);
/// `-peers`: a peer that has not answered by then is asked again in the next round.
pub const PEERS_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// `-peers`: so many rounds a majority waits for those of whom nothing is known, lest one of them has a cluster.
pub const PEERS_GRACE_ROUNDS: u32 = 10;
