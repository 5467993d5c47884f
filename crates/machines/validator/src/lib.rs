//! The cloud-config validator over HTTP: the original web API (contract 6.4), and a web page.
//!
//! It stores nothing and logs no bodies, since user-data may contain secrets.

#![warn(missing_docs)]

mod limits;
mod page;
mod response;
mod route;
mod serve;

pub use serve::serve;
