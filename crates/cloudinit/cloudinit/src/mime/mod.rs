//! MIME multipart, as far as user-data uses it (contract 1.4): a text to the parts that are no multipart
//! themselves, with their transfer encodings undone.
//!
//! It knows nothing of cloud-config. It is no mail library because none does what is asked here: `mail-parser`
//! does not say that an end marker is missing, mends damaged base64 and text of other alphabets in silence, and
//! wants a newer Rust than this workspace has; `mailparse` has a licence that is not on the workspace's list.
//! It must never give back a part of what was damaged.

mod headers;
mod split;
mod transfer;

pub use headers::is_multipart;
pub use split::{Leaf, Note, split};
