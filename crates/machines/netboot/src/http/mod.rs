//! The HTTP server: scripts, files, user-data, reports of machines, and a page.

mod download;
mod page;
mod response;
mod route;
mod serve;
mod status;

pub use serve::serve;
