//! What an update decides, and nothing that it touches: whether an offer is taken, where it goes, in which order it is
//! written, what a version that did not come up means, when to ask again.
//!
//! Facts go in (the disk's slots, the boot images, what the server said, the time), a plan or a refusal with its
//! reason comes out.

pub mod conf;
pub mod entry;
pub mod key_sets;
pub mod method;
pub mod schedule;
pub mod slots;
pub mod status;
pub mod trust;
