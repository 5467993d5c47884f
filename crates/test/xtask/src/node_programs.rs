//! The node's programs, as `os/programs.toml` lists them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

const LIST: &str = "os/programs.toml";

#[derive(Deserialize)]
struct List {
    program: Vec<NodeProgram>,
}

#[derive(Debug, Deserialize)]
pub struct NodeProgram {
    pub package: String,
    pub binary: String,
    /// In the image, without the leading slash.
    #[cfg(test)]
    path: String,
    /// Further paths of the same file.
    #[cfg(test)]
    #[serde(default)]
    links: Vec<String>,
}

impl NodeProgram {
    /// The names that the program is started by.
    #[cfg(test)]
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let paths = std::iter::once(&self.path).chain(&self.links);
        paths.filter_map(|path| Path::new(path).file_name()?.to_str())
    }
}

pub fn read(root: &Path) -> Result<Vec<NodeProgram>> {
    let text = std::fs::read_to_string(root.join(LIST)).with_context(|| format!("cannot read {LIST}"))?;
    let list: List = toml::from_str(&text).with_context(|| format!("{LIST} is malformed"))?;
    Ok(list.program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_programs_are_known() {
        let programs = read(&crate::workspace::root()).unwrap();
        let has = |name: &str| programs.iter().any(|program| program.names().any(|one| one == name));
        assert!(has("etcd") && has("fleetd") && has("keelson-ready"));
    }
}
