//! TFTP, read only: loaders and UKIs to firmware (RFC 1350, 2347, 2348, 2349, 7440).

pub mod options;
pub mod packet;
pub mod server;
pub mod transfer;
