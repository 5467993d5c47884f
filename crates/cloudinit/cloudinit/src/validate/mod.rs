//! The validator (contract 6): findings with locations for user-data.
//!
//! Validation is based on the text only: no keys are fetched, no paths are accessed. The known keys come from
//! the table that the config reader uses, too.

mod document;
mod files;
mod keys;
mod ports;
mod rules;
mod secrets;
mod units;
mod walk;

pub use document::{validate, validate_as_original, validate_decoded};
pub(crate) use rules::remove_tokens;
