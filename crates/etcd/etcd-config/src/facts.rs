//! The environment of the program: all input of the flags.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Without the program name.
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub hostname: String,
    /// Source address of the default route.
    pub default_route_address: Option<IpAddr>,
    /// Addresses of the interfaces.
    pub interface_addresses: BTreeSet<IpAddr>,
    /// Contents of the files in [`crate::command::required_files`], or why they cannot be read.
    pub files: BTreeMap<PathBuf, Result<String, String>>,
}
