//! The replicated state of the key-value store, pure and deterministic: every member that applies the same
//! commands in the same order holds the same state and gives the same outcomes.
//!
//! It must never read a clock, a file, a socket, a random number or the order of a hash map: time and ids
//! come in commands.

mod auth;
mod checkpoint;
mod command;
mod limits;
mod membership;
mod outcome;
mod store;
pub mod watch;

pub use auth::{Access, Auth, AuthError, User};
pub use checkpoint::{Changes, Record, Restore, RestoreError, Table};
pub use command::{AuthCommand, Command, DecodeError, Delete, PasswordHash, Post, Put};
pub use limits::HISTORY_EVENTS;
pub use membership::{Membership, MembershipError};
pub use outcome::{Change, Outcome, Refusal};
pub use store::Store;
