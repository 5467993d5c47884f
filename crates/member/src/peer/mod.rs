//! The members' protocol: what goes over one connection between two members.

mod frame;
pub mod hello;
pub mod link;
pub mod message;
pub mod network;
pub mod serve;
