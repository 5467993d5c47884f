//! The systemd units of one directory: write, link, start, stop, remove and watch.
//!
//! [`Units`] uses D-Bus and reconnects when the bus or systemd restarts. It knows nothing of clusters. It must never
//! report a unit stopped before systemd does, remove the file of a unit that may run, or replace a unit outside of
//! its directory.

#![warn(missing_docs)]

mod call;
mod call_batcher;
mod dial;
mod error;
mod events;
mod jobs;
mod limits;
mod links;
mod load;
mod manager;
mod need_daemon_reload;
mod retry;
mod session;
mod signal;
mod signal_listener;
mod state;
mod stop;
mod supported;
mod unit_directory;
mod units;
mod unload;
mod watcher;

pub use dial::{Bus, Dial, Dialing};
pub use error::Error;
pub use events::UnitEvent;
pub use need_daemon_reload::NeedDaemonReload;
pub use state::SystemdState;
pub use units::Units;
