//! The netboot server: proxy DHCP or DHCP, TFTP for the loader, HTTP for everything else.
//!
//! Decisions are pure modules: [`dhcp`] has the answer to each packet, [`rules`] what each machine boots, [`script`]
//! what iPXE runs, [`progress`] how far machines came. File names of requests are looked up in a [`catalog`] and never
//! joined to a path.

#![warn(missing_docs)]

pub mod catalog;
pub mod dhcp;
pub mod dhcp_server;
pub mod dnsmasq;
pub mod http;
pub mod installed;
pub mod interface;
mod lease_file;
mod limits;
pub mod machine;
pub mod progress;
pub mod query;
mod rule_file;
pub mod rules;
pub mod script;
pub mod server;
pub mod tftp;
pub mod user_data;
