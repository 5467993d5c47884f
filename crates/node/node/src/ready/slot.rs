//! The slot of `/usr`: the label of the partition below the mapped device `usr`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root::Root;

const BLOCK: &str = "/sys/block";
const MAPPED_NAME: &str = "usr";
/// Partition labels and slots.
const SLOTS: [(&str, char); 2] = [("USR-A", 'a'), ("USR-B", 'b')];

/// `None` if `/usr` is not a mapped device, as in a container, or on a live image.
pub fn slot(root: &Root) -> Option<char> {
    if root.is_live() {
        return None;
    }
    let device = entries(&root.at(BLOCK)).into_iter().find(|device| {
        fs::read_to_string(device.join("dm/name")).is_ok_and(|name| name.trim() == MAPPED_NAME)
    })?;
    // The device has a data and a hash partition; only the data partition's label is a slot name.
    entries(&device.join("slaves")).iter().find_map(|partition| {
        let uevent = fs::read_to_string(partition.join("uevent")).ok()?;
        let label = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="))?;
        SLOTS.iter().find(|(name, _)| *name == label).map(|(_, slot)| *slot)
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(labels: &[&str], mapped: &str, expected: Option<char>) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        let device = root.at(BLOCK).join("dm-0");
        fs::create_dir_all(device.join("dm")).unwrap();
        fs::write(device.join("dm/name"), format!("{mapped}\n")).unwrap();
        for (number, label) in labels.iter().enumerate() {
            let partition = device.join(format!("slaves/vda{number}"));
            fs::create_dir_all(&partition).unwrap();
            fs::write(partition.join("uevent"), format!("DEVTYPE=partition\nPARTN=2\nPARTNAME={label}\n"))
                .unwrap();
        }
        assert_eq!(slot(&root), expected);
        fs::create_dir_all(root.at("/run/keelson/live")).unwrap();
        assert_eq!(slot(&root), None, "a live image");
    }

    #[test]
    fn slot_is_named_by_the_data_partition() {
        check(&["USR-A", "USR-A-verity"], "usr", Some('a'));
        check(&["USR-B-verity", "USR-B"], "usr", Some('b'));
        check(&["USR-A", "USR-A-verity"], "swap", None);
        check(&["OTHER"], "usr", None);
    }

    #[test]
    fn container_has_no_slot() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(slot(&Root::from(folder.path())), None);
    }
}
