//! The update engine: checks for an update, verifies the offer and writes it to the other slot. Blocks; run it in its
//! own thread.
//!
//! All paths are relative to a root folder, so that tests use a folder as a machine and a file as its disk.

mod attempt;
mod check;
mod error;
mod fill;
mod identity;
mod lock;
mod memory;
mod origin;
mod places;
mod published;
mod question;
mod secure_boot;
mod settings;
mod slots;
mod throttle;
mod trusted;
mod watch;
mod web;

pub use attempt::{Done, Updater, now};
pub use check::Checked;
pub use error::{Failure, Kind};
pub use identity::Identity;
pub use memory::{Hold, Memory, MemoryError};
pub use origin::Origin;
pub use places::Places;
pub use published::{Asked, Files, Published};
pub use settings::{Server, Settings};
pub use trusted::believed;
pub use update_core::status::{Operation, Status};
pub use update_core::trust::Authorities;
pub use watch::Watch;
pub use web::Patience;
