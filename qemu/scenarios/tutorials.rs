//! What readers of the tutorials do before there is a cluster: rows A1 to A8 of the acceptance list.
//!
//! Row A7 is held by `kv_workers` and `fleet::workers`; members by hand (A6) are the key-value store's matter.

pub mod cluster;
pub mod from_file;
mod host;
pub mod page;
mod reader;
pub mod tour;
pub mod vagrant;
pub mod validator;
pub mod walk;
