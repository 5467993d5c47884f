//! Proxy mode: no member, no store; requests are passed to the members' client URLs.
//!
//! It must never answer for the members: what they say is passed on as it is, and what cannot be passed is a 5xx.

mod endpoints;
mod forward;
mod member_list;
mod saved;
mod upstream;

pub use forward::{Proxy, ProxyError, ProxySettings};
pub use saved::SavedError;
pub use upstream::Dial;
