//! The update engine: checks for an update, verifies the offer and writes it to the other slot. Blocks; run it in its
//! own thread.
//!
//! All paths are relative to a root folder, so that tests use a folder as a machine and a file as its disk.

mod attempt;
mod channel;
mod check;
mod error;
mod fill;
mod found;
mod http;
mod identity;
mod lock;
mod observer;
mod omaha_request;
mod origin;
mod paths;
mod published;
mod published_images;
mod secure_boot;
mod settings;
mod slots;
mod state;
mod throttle;
mod trust_store;

pub use attempt::{Outcome, Updater, now};
pub use channel::{app_name, channel_server};
pub use check::CheckOutcome;
pub use error::{Failure, Kind};
pub use http::RetryPolicy;
pub use identity::Identity;
pub use observer::Observer;
pub use origin::Origin;
pub use paths::Paths;
pub use published::{ImageFiles, MachineSpec, PublishedRelease};
pub use published_images::{PublishedImage, PublishedImages};
pub use settings::{Server, Settings};
pub use state::{Hold, StateError, StateStore};
pub use trust_store::TrustStore;
pub use update_core::status::{Operation, Status};
pub use update_worker::Isolation;
