//! The units of one folder as systemd has them: written and linked, stopped and removed, started, watched.
//!
//! [`Units`] speaks D-Bus to systemd, and connects again when the bus or systemd itself went away. It knows nothing of
//! clusters. It must never call a unit stopped before systemd did, remove the file of one that may still run, or take
//! the place of a unit that is not of its folder.

mod call;
mod changes;
mod dial;
mod error;
mod folder;
mod jobs;
mod limits;
mod links;
mod listener;
mod load;
mod manager;
mod reread;
mod session;
mod signal;
mod state;
mod stop;
mod takes;
mod together;
mod tries;
mod units;
mod unload;
mod watcher;

pub use changes::Change;
pub use dial::{Bus, Dial, Dialing};
pub use error::Error;
pub use reread::Reread;
pub use state::SystemdState;
pub use units::Units;
