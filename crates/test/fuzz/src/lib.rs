//! What is thrown at everything that reads bytes of strangers, of other members or of a disk.
//!
//! Each target is one function over bytes that panics when a promise does not hold. It is defined once and runs
//! twice: `tests/corpus.rs` tries the kept inputs and mutations of them in seconds, and libFuzzer looks for new
//! ways through the code for as long as it is let (`cargo xtask fuzz TARGET`). A target must never touch the
//! network beyond the loopback, nor files outside of its own temporary folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says by a panic what does not hold"
)]

mod answers;
mod input;
mod target;
mod targets;

pub use target::Target;

pub static ALL: &[Target] = &[
    targets::checkpoint::TARGET,
    targets::client::TARGET,
    targets::commands::TARGET,
    targets::config::TARGET,
    targets::discovery::TARGET,
    targets::http::TARGET,
    targets::key_sets::TARGET,
    targets::lock::TARGET,
    targets::log::TARGET,
    targets::metadata::TARGET,
    targets::mime::TARGET,
    targets::network::TARGET,
    targets::omaha::TARGET,
    targets::payload::TARGET,
    targets::payload_index::TARGET,
    targets::peer::TARGET,
    targets::provider::TARGET,
    targets::release::TARGET,
    targets::slots::TARGET,
    targets::user_data::TARGET,
    targets::yaml::TARGET,
];

pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
