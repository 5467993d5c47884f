//! One module per target.

pub mod checkpoint;
pub mod client;
pub mod commands;
pub mod config;
pub mod dhcp;
pub mod discovery;
pub mod http;
pub mod lock;
pub mod log;
pub mod metadata;
pub mod mime;
pub mod network;
pub mod omaha;
pub mod payload;
pub mod payload_index;
pub mod peer;
pub mod provider;
pub mod release;
pub mod roots;
pub mod security_tracker;
pub mod slots;
pub mod tftp;
pub mod tuf_metadata;
pub mod user_data;
pub mod worker;
pub mod yaml;
