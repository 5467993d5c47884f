//! The endpoints of the API, one file per topic.

pub mod auth;
pub mod cluster;
mod error_message;
pub mod event;
pub mod keys;
pub mod members;
