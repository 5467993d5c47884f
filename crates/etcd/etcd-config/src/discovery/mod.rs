//! The client side of discovery: a machine that is told answers and says what to ask next.
//!
//! One request is out at a time. It never connects, waits or logs by itself, and a proxy's machine never
//! registers.

mod address;
mod answer;
mod error;
mod machine;
mod proxy;
#[cfg(test)]
mod tests;

pub use address::DiscoveryUrl;
pub use answer::HttpAnswer;
pub use error::{DiscoveryError, failure_lines};
pub use machine::{Command, Discovery, Event, Failure, Method, Registration, Request};
pub use proxy::ProxyUrl;
