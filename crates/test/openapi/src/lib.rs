//! Compares an HTTP server with its OpenAPI document, in tests.
//!
//! A [`Document`] makes the requests of its examples ([`Document::examples`]) and checks each response: the status,
//! the required headers, the content type, and the body by its schema. A property that the schema does not have is an
//! error. [`Document::unseen`] lists the documented responses that no request got. A failure panics.

#![warn(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at what it did not expect"
)]

mod document;
mod example;
mod exchange;
mod schema;
mod table;

#[cfg(test)]
mod tests;

pub use document::Document;
pub use exchange::{Request, Response};
