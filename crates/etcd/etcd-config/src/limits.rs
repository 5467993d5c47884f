//! Limits.

use std::time::Duration;

/// Maximum election timeout.
pub const MAX_ELECTION_TIMEOUT_MS: u64 = 50_000;
/// Minimum number of heartbeats per election timeout, so that one late heartbeat does not start an election.
pub const HEARTBEATS_PER_ELECTION: u64 = 5;
/// Maximum number of members of an initial cluster; seven is a usual maximum.
pub const MAX_MEMBERS: usize = 63;
/// Maximum number of URLs of a list or a member.
pub const MAX_URLS: usize = 32;
/// Maximum size of a value on the command line, in the environment or in a file.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Maximum size of `-config-file` and `-peers-file`.
pub const MAX_FILE_BYTES: usize = 1024 * 1024;

/// Discovery: first wait after a failed request; doubled after each further one.
pub const DISCOVERY_FIRST_RETRY: Duration = Duration::from_secs(2);
/// Discovery: maximum wait.
pub const DISCOVERY_LONGEST_RETRY: Duration = Duration::from_secs(256);
/// Discovery: timeout of a request other than a watch.
pub const DISCOVERY_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Discovery: attempts for the size key and the registration if the service does not respond.
pub const DISCOVERY_TRIES: u32 = 3;

/// `-peers`: pause between two rounds.
pub const PEERS_ROUND: Duration = Duration::from_millis(500);
/// `-peers`: timeout of a request; the peer is queried again in the next round.
pub const PEERS_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// `-peers`: rounds that a majority waits for peers that do not respond, since one of them may have a cluster.
pub const PEERS_GRACE_ROUNDS: u32 = 10;
