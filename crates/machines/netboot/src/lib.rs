//! The netboot server: proxy DHCP or DHCP, TFTP for the loader, HTTP for everything else.
//!
//! Decisions are pure modules: [`dhcp`] has the answer to each packet, [`query`] what machines report. File names of
//! requests are looked up in a table and never joined to a path.

#![warn(missing_docs)]

pub mod dhcp;
mod limits;
pub mod machine;
pub mod query;
pub mod tftp;
