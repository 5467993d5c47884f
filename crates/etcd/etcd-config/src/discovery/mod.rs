//! Client of the discovery service, as a state machine without I/O.
//!
//! At most one request is pending. A proxy never registers.

mod address;
mod error;
mod machine;
mod proxy;
mod response;
#[cfg(test)]
mod tests;

pub use address::DiscoveryUrl;
pub use error::{DiscoveryError, failure_lines};
pub use machine::{Command, Discovery, Event, Failure, Method, Registration, Request};
pub use proxy::ProxyUrl;
pub use response::HttpResponse;
