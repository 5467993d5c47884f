//! Omaha v3 as CoreOS spoke it, from the side of the machine and from that of the server: requests and answers as
//! text and as values (contract update.md 1.1-1.3).
//!
//! It must never decide what is offered or taken, read a clock or open anything. Reading ignores what it does not
//! know and takes no DTD; a value that is there and cannot be read is an error with its place.

mod app_id;
mod code;
mod digest;
mod error;
pub mod limits;
mod offer;
mod read;
mod request;
mod response;
mod write;

pub use app_id::{COREOS_APP_ID, architecture, same_app};
pub use code::{ErrorCode, EventResult, EventType};
pub use digest::Sha256;
pub use error::{Place, ReadError};
pub use offer::{Answer, Offer, Refusal, file_url};
pub use request::{App, Event, ON_DEMAND, Os, Request, SCHEDULED};
pub use response::{
    Action, AnsweredApp, AppStatus, Manifest, Package, Response, UpdateCheck, UpdateStatus, file,
};

/// The only version of the protocol that is spoken.
pub const PROTOCOL: &str = "3.0";
/// Content type of both messages.
pub const CONTENT_TYPE: &str = "text/xml";
