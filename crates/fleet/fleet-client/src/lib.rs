//! A client of the cluster manager's HTTP API: over a unix socket, TCP or TLS, or over any stream that a caller
//! brings (an SSH tunnel).
//!
//! [`Client`] keeps one connection and opens it again when the server closed it. It must never repeat a request that
//! may have been done, and never pass over a certificate that does not verify.

mod calls;
mod client;
mod dial;
mod endpoint;
mod error;
mod limits;

pub use calls::StateFilter;
pub use client::{Body, Client, Tell, Trace};
pub use dial::{Connection, Dial, Dialing, Direct};
pub use endpoint::{Endpoint, EndpointError, Transport};
pub use error::Error;
