//! Client of the cluster manager's HTTP API over a Unix socket, TCP, TLS, or a stream of the caller (SSH tunnel).
//!
//! [`Client`] keeps one connection and reconnects after the server has closed it. It never repeats a request that may
//! have been executed, and never accepts an invalid certificate.

#![warn(missing_docs)]

mod calls;
mod client;
mod dial;
mod endpoint;
mod error;
mod limits;

pub use calls::StateFilter;
pub use client::{Body, Client, Trace, TraceFn};
pub use dial::{Connection, Dial, DialFuture, Direct};
pub use endpoint::{Endpoint, EndpointError, Transport};
pub use error::Error;
