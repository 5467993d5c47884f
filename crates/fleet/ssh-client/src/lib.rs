//! SSH to other machines by OpenSSH's client: commands, shells, and streams through them.
//!
//! A [`Connection`] is a process `ssh` (package openssh-client) that has logged in and waits for requests on its control
//! socket, in a private folder. This crate opens the TCP connection and decides about host keys: `ssh` gets the keys that
//! are trusted, and refuses every other. A key that it refused is looked up in the file of known hosts, or shown to the
//! user; once accepted, `ssh` is started again with it.
//!
//! Neither the user's nor the system's configuration of ssh is read. Users, keys, host keys, timeouts and routes come from
//! the caller, whose flags have defaults of their own: a `Host *` block must change neither the machine that is reached
//! nor a message that scripts compare.
//!
//! `ssh` and its folder do not outlive this process, however that ends. This crate must never go on with a host whose
//! key is not the known one, and never write a secret anywhere.

mod connection;
mod control;
mod error;
mod folder;
mod host_key;
mod identity;
mod input;
mod known_hosts;
mod limits;
mod master;
mod prompt;
mod pump;
mod relay;
mod report;
mod session;
mod settings;
mod stream;
mod terminal;
mod trust;

pub use connection::Connection;
pub use error::Error;
pub use session::What;
pub use settings::{Address, Settings};
pub use stream::Stream;
