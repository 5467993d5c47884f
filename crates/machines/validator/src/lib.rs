//! The validator of cloud-config over HTTP: the classic web API (contract 6.4), and a page for people.
//!
//! It stores nothing and logs no body: what is pasted here may hold secrets.

mod answer;
mod limits;
mod page;
mod route;
mod serve;

pub use serve::serve;
