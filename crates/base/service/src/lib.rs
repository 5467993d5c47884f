//! Common parts of programs: logging, sd_notify, shutdown, error chains, atomic file replacement, reloading
//! of changed files.
//!
//! A service behaves the same without systemd.

#![warn(missing_docs)]

pub mod error;
pub mod file;
pub mod log;
pub mod notify;
pub mod reload;
mod stop;

pub use stop::Stop;
