//! What can grow, and how far. Anybody may ask this service for anything.

use std::time::Duration;

pub const MAX_TOKENS: usize = 100_000;
/// As many as the client takes.
pub const MAX_SIZE: usize = 63;
pub const DEFAULT_SIZE: usize = 3;
/// Registrations below one token: more than one per member, since proxies of old clients and mistakes come too.
pub const MAX_REGISTRATIONS: usize = 256;
pub const MAX_BODY_BYTES: usize = 16 * 1024;
pub const MAX_NAME_BYTES: usize = 256;
pub const MAX_CONNECTIONS: usize = 12_000;
pub const MAX_WATCHES: usize = 10_000;
/// Events that a slow reader of a stream may be behind.
pub const MAX_UNREAD: usize = 64;
/// A token that nobody has registered with goes after so long.
pub const UNUSED: Duration = Duration::from_secs(7 * 24 * 3600);
/// One with registrations stays: late proxies read it. The longest time to live there is, in effect.
pub const KEPT_SECONDS: u64 = 100 * 365 * 24 * 3600;
/// How often expired tokens are looked for.
pub const SYNC: Duration = Duration::from_secs(1);
/// The journal is written anew beyond this, and beyond twice what it had after the last time.
pub const COMPACT_BYTES: u64 = 4 * 1024 * 1024;
/// One record of the journal.
pub const MAX_RECORD_BYTES: u32 = 16 * 1024 * 1024;
/// A request's head has to come within this.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// At stop, answers that are being written get so long.
pub const GRACE: Duration = Duration::from_secs(2);
/// From one address: this many requests at once, and so many more each second.
pub const BURST: f64 = 200.0;
pub const PER_SECOND: f64 = 50.0;
/// A new token counts as so many requests.
pub const COST_OF_NEW: f64 = 10.0;
/// Addresses whose rate is remembered.
pub const MAX_ADDRESSES: usize = 20_000;
/// An etcd behind us has so long to connect and to begin its answer (not for watches).
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);
