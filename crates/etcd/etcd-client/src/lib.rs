//! Client of the etcd v2 API: keys, watches, members, statistics, users and roles, over HTTP/1.1.
//!
//! [`Client`] has a list of endpoints and a connection pool. A request is sent to the endpoint that responded last.
//! If it is unreachable or responds with 5xx, the other endpoints are tried once each.
//!
//! Passwords never appear in errors, traces or logs. A non-idempotent write (`create`, `post`) that may have been
//! executed is never repeated.

#![warn(missing_docs)]

mod api;
mod client;
mod config;
mod connection;
mod endpoint;
mod error;
mod escape;
mod limits;
mod tls;
mod transport;
mod watch;

pub use api::auth::{KeyPermissions, NewUser, Permissions, Role, User, UserChange};
pub use api::cluster::{Health, LeaderStatistics, SelfStatistics, StoreStatistics, Version};
pub use api::event::{Event, Node, Response};
pub use api::keys::{DeleteOptions, GetOptions, PrevExist, SetOptions};
pub use api::members::Member;
pub use client::{Client, OpenError};
pub use config::{Config, Credentials, Dial, DialFuture, Order, SlowReport, Trace, TracedRequest};
pub use connection::Connector;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Attempt, Error, Reason};
pub use tls::{TlsError, TlsFiles};
pub use watch::{WatchOptions, Watcher};
