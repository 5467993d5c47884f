//! Parses, validates and plans cloud-config.
//!
//! The input is user-data as bytes, the result a list of steps with reasons. This crate is pure: it does not
//! access files, sockets, processes or clocks, so that the same input gives the same plan on a workstation,
//! in a test and on a node.

pub mod check;
pub mod config;
pub mod convert;
#[cfg(test)]
mod cpu_time;
pub mod encoding;
pub mod file_source;
pub mod finding;
mod fix;
pub mod interpretation;
pub mod key_import;
pub mod limits;
pub mod metadata;
mod mime;
pub mod multipart;
pub mod network;
pub mod plan;
mod preview;
pub mod provider;
mod schema;
mod suggestion;
pub mod template;
pub mod user_data;
mod validate;
pub mod yaml;

pub use finding::{Finding, Severity};
pub use fix::Fix;
pub use preview::{Preview, preview};
pub use schema::json_schema;
pub use validate::{validate, validate_as_original, validate_decoded};
