//! What can grow, and how far. Anybody may call who reaches the port.

use std::time::Duration;

pub const CONNECTIONS: usize = 4096;
pub const HEAD_TIME: Duration = Duration::from_secs(30);
/// For a request's body, but for the files of a release.
pub const BODY_TIME: Duration = Duration::from_secs(30);
/// Between two pieces of a file that is sent, in either direction.
pub const PIECE_TIME: Duration = Duration::from_secs(60);
/// At the end, answers that are being written get so long.
pub const GRACE: Duration = Duration::from_secs(5);
/// Of a request to the API.
pub const API_BYTES: usize = 64 << 10;
/// Of one file of a release.
pub const FILE_BYTES: u64 = 16 << 30;
/// Who follows what happens, at once.
pub const FOLLOWERS: usize = 64;
/// A follower is told no more often.
pub const NEWS_PAUSE: Duration = Duration::from_millis(300);
/// A follower hears at least so often, so that both sides notice when the other is gone.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// What nobody waits for is on disk so much later.
pub const FLUSH: Duration = Duration::from_secs(2);
/// How often grants are looked through for those whose time is over.
pub const TICK: Duration = Duration::from_secs(5);
pub const FORGET: Duration = Duration::from_secs(3600);
/// A set of keys that ends sooner, in seconds, is warned of: machines that are off for a season have to see the next one.
pub const KEY_SET_ENDS_SOON: u64 = 90 * 86_400;
/// Of the database: address space, not disk.
pub const DATABASE_BYTES: usize = 4 << 30;
/// Changes that wait to be written; who adds to more waits.
pub const BATCHES: usize = 1024;
/// A file is sent and taken in pieces of so many bytes.
pub const PIECE: usize = 128 << 10;
/// Pieces ahead of a slow reader.
pub const PIECES: usize = 4;
/// Files that are read for somebody at once.
pub const READERS: usize = 256;
/// Seconds that a timestamp counts.
pub const TIMESTAMP_LIFE: u64 = 7 * 24 * 3600;
/// Seconds after which one is made anew.
pub const TIMESTAMP_AGE: u64 = 6 * 3600;
/// Sets of keys of one application.
pub const KEY_SETS: usize = 256;
/// Entries of one answer.
pub const PAGE: usize = 1000;
