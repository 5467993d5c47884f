//! The channel server: Omaha for machines, files with ranges, an API and a page for operators, metrics.
//!
//! It must never decide who gets what (`rollout` does), answer what is not on disk, log a token, or sign anything but
//! which version a channel has.

mod api;
mod body;
mod current;
mod download;
mod events;
pub mod fake;
mod files;
mod key_sets;
mod limits;
mod look;
mod metrics;
mod overview;
mod page;
mod place;
mod range;
mod route;
mod serve;
mod server;
mod signing;
mod store;
mod token;
mod update;
mod warnings;

pub use current::{LookError, Nothing, look};
pub use files::FilesError;
pub use key_sets::KeySetError;
pub use serve::serve;
pub use server::{OpenError, Server, Settings};
pub use signing::{PUBLIC as PUBLIC_KEY, SigningError};
pub use store::StoreError;
pub use token::{ADMIN as ADMIN_TOKEN, TokenError, VIEWER as VIEWER_TOKEN};
