//! Limits of messages, times and resources.

use std::time::Duration;

/// Bytes of one message of data.
pub const MAX_DATA: usize = 256 << 10;
/// Bytes of a text from a child: an error, or the beginning of an unexpected body.
pub const MAX_TEXT: usize = 2048;
/// Bytes of a request without its data: a URL, or a URL and a body.
pub const MAX_REQUEST: usize = 1 << 20;
/// Bytes of a frame: what zstd needs at most for a segment, generously.
pub const MAX_FRAME: usize = (payload::limits::SEGMENT_BYTES as usize) + (1 << 20);
/// Characters of an unexpected body to log.
pub const EXCERPT: usize = 200;

/// Time to establish a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed.
pub const MAX_REDIRECTS: u32 = 10;
/// Transfers of fewer bytes in this period are aborted (contract 1.1.3).
pub const MIN_RATE: (u64, Duration) = (900, Duration::from_secs(90));
/// Time for a small request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Beyond the child's own timeouts, so that its message arrives.
pub const GRACE: Duration = Duration::from_secs(10);
/// Time for a child to start. An emulated machine needs seconds.
pub const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Time to unpack a segment, of the slowest machine.
pub const UNPACK_TIMEOUT: Duration = Duration::from_secs(300);

/// Address space of a child that transfers: threads reserve much that they do not use.
pub const TRANSFER_MEMORY: u64 = 1 << 30;
/// Address space of a child that unpacks: old bytes, a frame, a segment, and the program.
pub const UNPACK_MEMORY: u64 = 256 << 20;
/// Open files of a child.
pub const OPEN_FILES: u64 = 64;
