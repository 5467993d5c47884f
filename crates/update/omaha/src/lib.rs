//! The Omaha v3 protocol in CoreOS's dialect, for clients and servers (contract update.md 1.1-1.3).
//!
//! Pure: decides nothing, reads no clock and does no I/O. Parsing ignores unknown content and rejects DTDs. Invalid
//! values cause an error with their position.

#![warn(missing_docs)]

mod app_id;
mod code;
mod digest;
mod error;
pub mod limits;
mod offer;
mod read;
pub mod registration;
mod request;
mod response;
mod write;

pub use app_id::{COREOS_APP_ID, architecture, same_app};
pub use code::{ErrorCode, EventResult, EventType};
pub use digest::Sha256;
pub use error::{Position, ReadError};
pub use offer::{CheckResponse, Offer, ResponseError, file_url};
pub use request::{App, Event, ON_DEMAND, Os, Request, SCHEDULED};
pub use response::{Action, AppStatus, Manifest, Package, Response, ResponseApp, UpdateCheck, UpdateStatus};

/// The supported protocol version.
pub const PROTOCOL: &str = "3.0";
/// Content type of requests and responses.
pub const CONTENT_TYPE: &str = "text/xml";
