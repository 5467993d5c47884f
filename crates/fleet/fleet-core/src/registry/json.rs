//! JSON encoding of values.

use serde::Serialize;

/// Never fails for the types of this crate.
#[expect(clippy::expect_used)]
pub fn to_string(value: &impl Serialize) -> String {
    // invariant: our types have string keys only.
    go_compat::to_string(value).expect("plain data can be written")
}
