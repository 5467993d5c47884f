//! Child processes without rights, for bytes that are not verified: HTTP transfers, and the decompressor.
//!
//! The program starts itself under the name [`WORKER_NAME`], with a socket as standard input. The child drops
//! capabilities, files (Landlock) and system calls (seccomp) before it reads the first byte. The parent keeps disks,
//! keys and state, verifies what the child sends, and writes. It must never trust a length, wait without a deadline or
//! allocate by what a child sends; whatever is not as expected ends the child.

#![warn(missing_docs)]

mod child;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod http;
mod limits;
mod link;
mod message;
mod process;
mod transfers;
mod unpacker;

pub use child::run;
pub use http::{HttpError, redact_url, system_certificates, tls_config};
pub use limits::MIN_RATE;
pub use message::WORKER_NAME;
pub use process::{Isolation, WorkerError};
pub use transfers::{Body, Transfers};
pub use unpacker::Unpacker;
