//! The API, one file for each thing that it is about.

pub mod auth;
pub mod cluster;
pub mod event;
pub mod keys;
pub mod members;
mod refusal;
