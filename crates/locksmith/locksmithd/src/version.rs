//! The locksmith version that this implements.

/// The locksmith version that this implements; scripts check it.
pub const VERSION: &str = "0.6.2";
