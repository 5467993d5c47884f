//! Makes keys, sets of them, and releases: images packed, described and signed, in a folder that a server serves or a stick carries.
//!
//! It runs where images are built. What is in the folder is never believed here either: an older release that a
//! difference is made to is checked as a machine would.

mod key_sets;
mod keys;
mod make;
mod rotate;

pub use key_sets::{
    SetsError, SignedSet, Standing, begin, collect, copy, latest, latest_complete, sets, sign, standing,
};
pub use keys::{KeysError, MadeKeys, Secret, make_keys};
pub use make::{About, Files, Made, MakeError, Order, Step, make};
pub use rotate::{Change, Replace, rotate};
