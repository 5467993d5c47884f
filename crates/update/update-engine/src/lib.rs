//! One update from the question to the disk: what the machine is, what the server or a file offers, whether that is
//! believed, and its bytes in the other slot. It blocks, and runs in a thread of its own.
//!
//! Everything lies below one root folder, so that the tests have a machine in a folder, with a file for a disk.

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
