//! SSH connections by OpenSSH's client: commands, shells, and streams.
//!
//! A [`Connection`] is an authenticated `ssh` master process (package openssh-client) with a control socket in a
//! private directory. This crate opens the TCP connection and verifies host keys: `ssh` receives the trusted keys and
//! rejects all others. A rejected key is looked up in the known hosts file, or confirmed by the user; then `ssh` is
//! restarted with it.
//!
//! The ssh configuration of the user and the system is not read. Users, keys, host keys, timeouts and routes come from
//! the caller's flags: a `Host *` block must not change the machine that is reached or a message that scripts compare.
//!
//! `ssh` and its directory never outlive this process, even after SIGKILL. This crate never connects to a host whose
//! key has changed or is revoked, and never writes secrets.

#![warn(missing_docs)]

mod connection;
mod control;
mod copy;
mod error;
mod host_key;
mod host_pattern;
mod identity;
mod input;
mod known_hosts;
mod limits;
mod master;
mod prompt;
mod relay;
mod runtime_dir;
mod session;
mod settings;
mod stderr_log;
mod stream;
mod terminal;
mod trust;

pub use connection::Connection;
pub use error::Error;
pub use session::SessionRequest;
pub use settings::{Address, Settings};
pub use stream::Stream;
