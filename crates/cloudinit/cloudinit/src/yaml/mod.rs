//! Reads the YAML of cloud-config: YAML 1.1 with exact locations, original scalar texts and merged duplicate
//! keys.
//!
//! Memory and time are bounded by `limits` for any input. The meaning of keys is defined in `schema`.

mod event;
mod lines;
mod node;
mod reader;
mod scalar;

pub use node::{Entry, Item, Location, Mapping, Node, Value};
pub use reader::{Document, Note, ReadError, read, read_until_error};
pub use scalar::{Scalar, ScalarType};
