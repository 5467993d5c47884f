//! What is remembered of the last good boot: this boot is measured by it.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use whole_file::replace;

use crate::root::Root;

const FOLDER: &str = "/var/lib/keelson/health";
const FILE: &str = "good.json";
const MODE: u32 = 0o644;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodBoot {
    pub version: Option<String>,
    pub boot_id: String,
    /// Sorted.
    pub failed_units: Vec<String>,
    /// None where nobody said whether the network was up.
    pub online: Option<bool>,
}

#[derive(Debug, thiserror::Error)]
pub enum GoodBootError {
    #[error("can not write {FOLDER}/{FILE}")]
    Write(#[source] io::Error),
    #[error("can not write the good boot as JSON")]
    Json(#[source] serde_json::Error),
}

/// None where there was none yet. What can not be read is told, and counts as none: a file must not make every boot
/// a bad one.
pub fn read(root: &Root) -> (Option<GoodBoot>, Option<String>) {
    let path = root.at(FOLDER).join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, None),
        Err(error) => return (None, Some(format!("can not read {FOLDER}/{FILE}: {error}"))),
    };
    match serde_json::from_slice(&text) {
        Ok(boot) => (Some(boot), None),
        Err(error) => (None, Some(format!("{FOLDER}/{FILE} is no good boot: {error}"))),
    }
}

pub fn write(root: &Root, boot: &GoodBoot) -> Result<(), GoodBootError> {
    let mut text = serde_json::to_vec_pretty(boot).map_err(GoodBootError::Json)?;
    text.push(b'\n');
    let folder = root.at(FOLDER);
    fs::create_dir_all(&folder).map_err(GoodBootError::Write)?;
    replace(&folder.join(FILE), &text, MODE).map_err(GoodBootError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_damaged_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert_eq!(read(&root), (None, None));
        let boot = GoodBoot {
            version: Some("1.2.3".into()),
            boot_id: "01".into(),
            failed_units: vec!["x.service".into()],
            online: Some(true),
        };
        write(&root, &boot).unwrap();
        assert_eq!(read(&root), (Some(boot), None));
        fs::write(root.at(FOLDER).join(FILE), "{\"boot_id\":").unwrap();
        let (none, told) = read(&root);
        assert_eq!(none, None);
        assert!(told.unwrap().starts_with("/var/lib/keelson/health/good.json is no good boot: "));
    }
}
