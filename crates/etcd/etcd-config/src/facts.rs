//! What the program found before anything was decided: the whole input of the flags.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Without the program's own name.
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub hostname: String,
    /// The address that the default route leaves from.
    pub default_route_address: Option<IpAddr>,
    /// What the files that [`crate::command::files_wanted`] names say, or why they cannot be read.
    pub files: BTreeMap<PathBuf, Result<String, String>>,
}
