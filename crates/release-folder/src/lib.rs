//! Makes releases: images packed, described and signed, in a folder that a server serves or a stick carries.
//!
//! It runs where images are built. What is in the folder is never believed here either: an older release that a
//! difference is made to is checked as a machine would.

mod keys;
mod make;

pub use keys::{KeysError, MadeKeys, Secret, make_keys};
pub use make::{About, Files, Made, MakeError, Order, Step, make};
