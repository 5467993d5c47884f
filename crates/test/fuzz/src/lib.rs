//! Fuzz targets for everything that parses bytes from the network, from other members or from a disk.
//!
//! Each target is a function over bytes that panics if a property is violated. It runs in two ways:
//! `tests/corpus.rs` runs the corpus and mutations of it in seconds, and libFuzzer searches for new coverage
//! (`cargo xtask fuzz TARGET`). A target never uses the network beyond the loopback, nor files outside of its
//! temporary folder.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a target says by a panic what does not hold"
)]

mod input;
mod responses;
mod target;
mod targets;

pub use target::Target;

pub static ALL: &[Target] = &[
    targets::checkpoint::TARGET,
    targets::client::TARGET,
    targets::commands::TARGET,
    targets::config::TARGET,
    targets::customization::TARGET,
    targets::dhcp::TARGET,
    targets::discovery::TARGET,
    targets::guest_rpc::TARGET,
    targets::http::TARGET,
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
    targets::roots::TARGET,
    targets::security_tracker::TARGET,
    targets::slots::TARGET,
    targets::tftp::TARGET,
    targets::tuf_metadata::TARGET,
    targets::user_data::TARGET,
    targets::worker::TARGET,
    targets::yaml::TARGET,
];

pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
