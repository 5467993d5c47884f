//! Limits. Any host that reaches the port may connect.

use std::time::Duration;

use update_core::repository::MAX_TARGETS;
use update_core::roots::MAX_ROOT;

pub const CONNECTIONS: usize = 4096;
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// For request bodies, except uploads.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two chunks of a file, in either direction.
pub const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);
/// For responses in progress at shutdown.
pub const GRACE: Duration = Duration::from_secs(5);
/// Body of an API request.
pub const API_BYTES: usize = 64 << 10;
/// The same with root and targets metadata as strings, where each quote and line break has two bytes.
pub const METADATA_REQUEST_BYTES: usize = 2 * (MAX_ROOT + MAX_TARGETS) + 1024;
/// One file of a release.
pub const FILE_BYTES: u64 = 16 << 30;
/// Concurrent event streams.
pub const SUBSCRIBERS: usize = 64;
/// Minimum time between two events of a stream.
pub const EVENT_INTERVAL: Duration = Duration::from_millis(300);
/// Maximum time between two messages of a stream, so that both sides detect a broken connection.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Delay until changes that no response depends on are on disk.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(2);
/// How often grants are checked for expiry.
pub const TICK_INTERVAL: Duration = Duration::from_secs(5);
pub const FORGET_INTERVAL: Duration = Duration::from_secs(3600);
/// Seconds before expiry from which on root metadata causes a warning. Machines that are off for a season need to see
/// the next version.
pub const ROOT_EXPIRY_WARNING: u64 = 90 * 86_400;
/// Maximum size of the database. Reserves address space, not disk.
pub const DATABASE_BYTES: usize = 4 << 30;
/// Queued changes per commit.
pub const CHANGES_PER_COMMIT: usize = 1024;
/// Concurrent downloads for machines.
pub const READERS: usize = 256;
/// Concurrent downloads of images. Separate ones: whoever fetches images keeps no machine from updating.
pub const IMAGE_READERS: usize = 64;
/// Seconds by which the last timestamp may be ahead of the clock. Machines allow the same.
pub const MAX_CLOCK_DIFFERENCE: u64 = 24 * 3600;
/// Seconds after which a timestamp is signed again.
pub const TIMESTAMP_REFRESH: u64 = 6 * 3600;
/// Signed versions per application that are kept for machines in the middle of an update.
pub const SIGNED_VERSIONS: usize = 64;
/// The same of targets metadata, which is large.
pub const TARGETS_VERSIONS: usize = 4;
/// Versions of root metadata per application.
pub const ROOTS: usize = 256;
/// Entries per response.
pub const PAGE: usize = 1000;
