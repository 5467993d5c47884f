//! What readers of the tutorials do before they have a cluster: rows A1 to A8 of the acceptance list.
//!
//! `kv_workers` and `fleet::workers` cover row A7; `kv` covers manual membership (A6).

pub mod cluster;
pub mod from_file;
mod host;
pub mod page;
mod reader;
pub mod tour;
pub mod vagrant;
pub mod validator;
pub mod walk;
