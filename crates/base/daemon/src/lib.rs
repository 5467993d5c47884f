//! What every service of the node does alike: its log, what systemd is told, the order to end.
//!
//! It decides nothing, and a service runs the same without systemd.

pub mod log;
pub mod notify;
mod stop;

pub use stop::Stop;
