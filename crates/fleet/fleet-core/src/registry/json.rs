//! How values are written.

use serde::Serialize;

/// The types of this crate always can be written.
#[expect(clippy::expect_used)]
pub fn to_string(value: &impl Serialize) -> String {
    // invariant: our types have string keys only.
    go_compat::to_string(value).expect("plain data can be written")
}
