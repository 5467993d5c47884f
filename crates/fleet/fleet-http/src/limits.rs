//! Every limit of the API's server, once. No other file names a size, a count or a deadline.

use std::time::Duration;

/// Request line and headers together.
pub const HEAD_BYTES: usize = 64 * 1024;
/// From the end of the answer before it to the last byte of a request's head: also how long a connection may idle.
pub const HEAD_TIME: Duration = Duration::from_secs(30);
/// Between two pieces of a request's body.
pub const BODY_PIECE_TIME: Duration = Duration::from_secs(10);
/// For a request's whole body.
pub const BODY_TIME: Duration = Duration::from_secs(60);
/// Of all bodies that are being read and worked on at one time.
pub const BODIES_BYTES: usize = 4 * fleet_api::BODY_BYTES;
/// What nobody wants of a body is thrown away up to here, so that its sender comes to read why.
pub const UNWANTED_BYTES: u64 = fleet_api::BODY_BYTES as u64;
/// So long it is waited for.
pub const UNWANTED_TIME: Duration = Duration::from_secs(2);
/// Longer ones are read on a thread of their own: the loop has beats to send meanwhile.
pub const QUICK_BYTES: usize = 256 * 1024;
/// Without one byte taken by a client that has an answer coming.
pub const WRITE_TIME: Duration = Duration::from_secs(30);
/// Connections of one listener; further ones wait in the kernel's queue. Each listener has its own, so that nobody on
/// the network locks out the machine's own socket.
pub const CONNECTIONS: usize = 256;
/// After accepting failed, which is mostly for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// For requests in flight, when the server ends.
pub const GRACE: Duration = Duration::from_secs(2);
/// Operations of one `PATCH`: each is a write to the store.
pub const PATCHES: usize = 1024;
/// systemctl and journalctl, running at one time.
pub const PROGRAMS: usize = 32;
/// For one systemctl.
pub const STATUS_TIME: Duration = Duration::from_secs(10);
/// Of what it says.
pub const STATUS_BYTES: u64 = 1024 * 1024;
/// Lines of the journal, where a request says nothing.
pub const JOURNAL_LINES: u32 = 10;
/// Pieces of a journal on their way to one client.
pub const JOURNAL_PIECES: usize = 4;
/// Of one such piece.
pub const JOURNAL_PIECE_BYTES: usize = 16 * 1024;
/// How often a client that sent more than its request is looked at, whether it is still there.
pub const LOOK_TIME: Duration = Duration::from_secs(1);
