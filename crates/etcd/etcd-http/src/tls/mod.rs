//! TLS of listeners and of the proxy's connections, with reloading of changed files.
//!
//! Never serves without required client certificates, and never puts key material into a message.

mod accept;
mod files;
mod no_verify;
mod reloading;

pub use accept::accept;
pub use files::{ServerVerification, TlsError, TlsFiles};
pub use reloading::{ClientTls, ServerTls};
