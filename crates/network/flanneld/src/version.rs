//! The flannel version that this implements.

/// The flannel version that this implements; scripts check it.
pub const VERSION: &str = "v0.11.0";
