//! TLS of listeners and of the proxy's own connections, from files that may change while we run.
//!
//! It must never serve without the client certificates that were asked for, and never put key material into a
//! message.

mod accept;
mod files;
mod server;

pub use files::{FileStamps, TlsError, TlsFiles};
pub use server::ServerTls;

pub(crate) use accept::accept;
pub use files::client_config;
