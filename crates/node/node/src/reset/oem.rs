//! What is on the OEM partition.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::root::Root;

const FOLDER: &str = "/usr/share/oem";
/// Every ext4 file system has it.
const LOST_AND_FOUND: &str = "lost+found";

#[derive(Debug, thiserror::Error)]
pub enum OemError {
    #[error("the OEM partition is not mounted on {}", .0.display())]
    NotMounted(PathBuf),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

impl OemError {
    /// What to do instead.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotMounted(_) => Some(
                "sudo systemctl start usr-share-oem.mount, then retry; a machine without an OEM partition needs no --oem",
            ),
            Self::Read { .. } => None,
        }
    }
}

/// The names in its root folder, sorted, with control characters escaped.
pub fn files(root: &Root) -> Result<Vec<String>, OemError> {
    let folder = root.at(FOLDER);
    if !is_mounted(root, Path::new(FOLDER)) {
        return Err(OemError::NotMounted(folder));
    }
    let read = |source| OemError::Read { path: folder.clone(), source };
    let entries = fs::read_dir(&folder).map_err(read)?.collect::<Result<Vec<_>, _>>().map_err(read)?;
    let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().escape_debug().to_string());
    let mut names: Vec<String> = names.filter(|name| name != LOST_AND_FOUND).collect();
    names.sort();
    Ok(names)
}

/// Whether `/proc/self/mounts` has the mount point.
fn is_mounted(root: &Root, point: &Path) -> bool {
    let mounts = fs::read_to_string(root.at("/proc/self/mounts")).unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|path| Path::new(path) == point))
}
