//! A client of the etcd v2 API: keys, watches, members, statistics, users and roles, over HTTP/1.1.
//!
//! [`Client`] holds a list of endpoints and a pool of connections. A request goes to the endpoint that
//! answered last; when that one cannot be reached, or answers with 5xx, the next is tried, until one
//! answers or each was tried once.
//!
//! It must never put a password into an error, a trace or a log, and never repeat elsewhere a write that
//! may have been done and whose repetition would do it twice (`create`, `post`).

mod api;
mod client;
mod config;
mod connection;
mod endpoint;
mod error;
mod escape;
mod limits;
mod tls;
mod watch;
mod wire;

pub use api::auth::{Kv, NewUser, Permissions, Role, User, UserChange};
pub use api::cluster::{Health, LeaderStatistics, SelfStatistics, StoreStatistics, Version};
pub use api::event::{Answer, Event, Node};
pub use api::keys::{Delete, Exists, Get, Set};
pub use api::members::Member;
pub use client::Client;
pub use config::{Config, Credentials, Dial, Dialing, Order, SlowReport, Trace, Traced};
pub use connection::Connector;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Attempt, Error, Reason};
pub use tls::{TlsError, TlsFiles};
pub use watch::{Watch, Watcher};
