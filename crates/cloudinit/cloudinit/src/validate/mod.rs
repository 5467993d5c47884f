//! The validator (contract 6): user-data to findings with places.
//!
//! It judges text only: no key is fetched, no path is looked at. The same table that the config is read by
//! decides which keys there are.

mod document;
mod keys;
mod ports;
mod rules;
mod secrets;
mod units;
mod walk;

pub use document::{validate, validate_as_original, validate_decoded};
pub(crate) use rules::remove_tokens;
