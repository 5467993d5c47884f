//! The peer protocol between two members.

mod frame;
#[cfg(feature = "fuzz")]
pub use frame::put_frame;
pub mod handshake;
pub mod link;
pub mod link_timing;
pub mod message;
pub mod network;
pub mod server;
