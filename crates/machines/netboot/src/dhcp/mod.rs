//! DHCP: which answer to which packet.

pub mod client;
pub mod lease;
pub mod packet;
pub mod reply;
