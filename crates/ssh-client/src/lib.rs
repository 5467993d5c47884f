//! SSH to other machines: commands, shells, and streams through them.
//!
//! A [`Connection`] is opened directly, or through another one. Keys come from the agent, or from a file; the other
//! side's key is looked up in a file of known hosts, and a new one is shown and asked about. This crate must never
//! go on with a host whose key is another than the known one, and never write a secret anywhere.

mod connection;
mod error;
mod fingerprint;
mod handler;
mod identity;
mod known_hosts;
mod limits;
mod prompt;
mod session;
mod settings;
mod terminal;

pub use connection::{Connection, Stream};
pub use error::Error;
pub use session::What;
pub use settings::{Address, Settings};
