//! The record of the last good boot, the baseline for this one.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use service::file::replace;

use crate::root::Root;

const FOLDER: &str = "/var/lib/keelson/health";
const FILE: &str = "good.json";
/// The previous record, used if the last one is damaged.
const PREVIOUS_FILE: &str = "good-before.json";
const MODE: u32 = 0o644;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodBoot {
    pub version: Option<String>,
    pub boot_id: String,
    /// Sorted.
    pub failed_units: Vec<String>,
    /// `None` if networkd did not report its state.
    pub online: Option<bool>,
}

#[derive(Debug, thiserror::Error)]
pub enum GoodBootError {
    #[error("cannot write {FOLDER}/{FILE}")]
    Write(#[source] io::Error),
    #[error("cannot serialize the record of the good boot")]
    Json(#[source] serde_json::Error),
}

/// Returns the record and a warning if it is damaged; then the previous record counts. Without any record, a
/// damaged file does not fail every boot.
pub fn read(root: &Root) -> (Option<GoodBoot>, Option<String>) {
    match read_file(root, FILE) {
        Ok(boot) => (boot, None),
        Err(error) => (read_file(root, PREVIOUS_FILE).ok().flatten(), Some(error)),
    }
}

fn read_file(root: &Root, file: &str) -> Result<Option<GoodBoot>, String> {
    let text = match fs::read(root.at(FOLDER).join(file)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {FOLDER}/{file}: {error}")),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| format!("{FOLDER}/{file} is invalid: {error}"))
}

pub fn write(root: &Root, boot: &GoodBoot) -> Result<(), GoodBootError> {
    let mut text = serde_json::to_vec_pretty(boot).map_err(GoodBootError::Json)?;
    text.push(b'\n');
    let folder = root.at(FOLDER);
    fs::create_dir_all(&folder).map_err(GoodBootError::Write)?;
    if let Ok(Some(previous)) = read_file(root, FILE) {
        let previous = serde_json::to_vec_pretty(&previous).map_err(GoodBootError::Json)?;
        replace(&folder.join(PREVIOUS_FILE), &previous, MODE).map_err(GoodBootError::Write)?;
    }
    replace(&folder.join(FILE), &text, MODE).map_err(GoodBootError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_file_falls_back_to_the_previous_one() {
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
        assert_eq!(read(&root), (Some(boot.clone()), None));
        let damage = || fs::write(root.at(FOLDER).join(FILE), "{\"boot_id\":").unwrap();
        damage();
        let (none, reason) = read(&root);
        assert_eq!(none, None);
        assert!(reason.unwrap().starts_with("/var/lib/keelson/health/good.json is invalid: "));
        // Two records back still counts if the last one is damaged, even after the damaged one was overwritten.
        let second = GoodBoot { boot_id: "02".into(), ..boot.clone() };
        write(&root, &boot).unwrap();
        write(&root, &second).unwrap();
        damage();
        assert_eq!(read(&root).0, Some(boot.clone()));
        write(&root, &second).unwrap();
        damage();
        assert_eq!(read(&root).0, Some(boot));
    }
}
