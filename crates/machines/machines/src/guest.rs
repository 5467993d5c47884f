//! The file by which a supervisor describes its running guest, in the node's folder.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::process::Process;
use crate::store::{read_limited, replace};

const FILE_MAX: u64 = 16 << 10;

/// A running QEMU or nspawn. It is written when the node's network exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The aliases are the names of keelson 0.1 and of its first successors.
    #[serde(alias = "nspawn", alias = "qemu")]
    pub process: Process,
    /// What the node's network has less, or more, than was requested.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl Guest {
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&read_limited(path, FILE_MAX).ok()?).ok()
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        replace(path, &serde_json::to_vec(self)?)
    }

    /// Shows the warnings to the user who started the node.
    pub fn warn(&self) {
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_of_earlier_supervisors_are_found() {
        let guest: Guest = serde_json::from_str(r#"{"nspawn":{"pid":7,"started":9}}"#).unwrap();
        assert_eq!(guest, Guest { process: Process { pid: 7, started: 9 }, warnings: vec![] });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guest.json");
        assert_eq!(Guest::read(&path), None);
        guest.write(&path).unwrap();
        assert_eq!(Guest::read(&path), Some(guest));
    }
}
