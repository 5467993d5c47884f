//! Proxy mode: forwards requests to the members' client URLs.
//!
//! Responses are forwarded unchanged; if there is none, the response is a 5xx.

mod endpoints;
mod forward;
mod member_list;
mod saved;
mod upstream;

pub use forward::{Proxy, ProxyError, ProxySettings};
pub use saved::SavedError;
pub use upstream::Dial;
