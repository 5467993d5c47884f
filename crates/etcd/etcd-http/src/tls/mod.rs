//! TLS of listeners and of the proxy's own connections, from files that may change while we run.
//!
//! It must never serve without the client certificates that were asked for, and never put key material into a
//! message.

mod accept;
mod anybody;
mod files;
mod followed;

pub use accept::accept;
pub use files::{FileStamps, TlsError, TlsFiles, Trusted};
pub use followed::{ClientTls, Followed, ServerTls};
