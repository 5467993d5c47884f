//! The units of one folder as systemd has them: written and linked, stopped and removed, started, watched.
//!
//! [`Units`] speaks D-Bus to systemd, and connects again when the bus or systemd itself went away. It knows nothing of
//! clusters. It must never call a unit stopped before systemd did, remove the file of one that may still run, or take
//! the place of a unit that is not of its folder.

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
