//! MIME multipart as user-data uses it (contract 1.4): splits a text into its leaf parts and decodes their
//! transfer encodings.
//!
//! This module does not depend on cloud-config, and never returns part of a damaged body. Mail libraries do
//! not fit: `mail-parser` does not report a missing end delimiter, repairs damaged base64 and other character
//! sets silently, and needs a newer Rust than this workspace; the licence of `mailparse` is not on the
//! workspace's list.

mod headers;
mod split;
mod transfer;

pub use headers::is_multipart;
pub use split::{Leaf, Note, split};
