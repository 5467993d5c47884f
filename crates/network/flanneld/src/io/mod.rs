//! Everything outside of the process.

pub mod lease_store;
pub mod machine;
pub mod subnet_file;
pub mod udp_proxy;
pub mod watch;
pub mod wireguard_key;
