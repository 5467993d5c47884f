//! The replicated state machine of the key-value store, pure and deterministic: all members that apply the same
//! commands in the same order have the same state and return the same outcomes.
//!
//! It has no access to clocks, files, sockets, random numbers or hash map order: times and ids are part of commands.

#![warn(missing_docs)]

mod arena;
mod auth;
mod auth_error;
mod checkpoint;
mod codec;
mod command;
mod command_codec;
mod compare;
mod event_record;
mod history;
mod limits;
mod listing;
mod membership;
mod membership_error;
mod outcome;
mod restore;
mod store;
mod store_delete;
mod store_put;
mod tree;
mod user;
pub mod watch;
pub mod watch_queue;

pub use auth::{Access, Auth};
pub use auth_error::AuthError;
pub use checkpoint::{Changes, Record, Table};
pub use command::{AuthCommand, Command, DecodeError, Delete, PasswordHash, Post, Put};
pub use limits::HISTORY_EVENTS;
pub use membership::Membership;
pub use membership_error::MembershipError;
pub use outcome::{Change, CommandError, Outcome};
pub use restore::{Restore, RestoreError};
pub use store::Store;
pub use user::User;
