//! Reads the YAML of cloud-config: YAML 1.1 with true positions, kept scalar texts and merged duplicates.
//!
//! It must never take more memory or time than `limits` allow, whatever the text says, and it gives no
//! meaning to keys: that is `schema`'s.

mod event;
mod lines;
mod node;
mod reader;
mod scalar;

pub use node::{Entry, Item, Location, Mapping, Node, Value};
pub use reader::{Document, Note, ReadError, read, read_until_error};
pub use scalar::{Scalar, ScalarType};
