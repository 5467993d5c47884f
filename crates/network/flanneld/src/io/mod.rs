//! Everything outside of the process.

pub mod lease_store;
pub mod machine;
pub mod subnet_file;
pub mod watch;
