//! Common parts of programs: the log, notifications to systemd, shutdown, error chains, atomic file replacement.
//!
//! It decides nothing, and a service runs the same without systemd.

pub mod error;
pub mod file;
pub mod log;
pub mod notify;
mod stop;

pub use stop::Stop;
