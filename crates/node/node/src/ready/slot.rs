//! Which slot `/usr` runs from: the partition below the mapped device `usr`, by its label.

use std::fs;
use std::path::{Path, PathBuf};

use crate::root::Root;

const BLOCK: &str = "/sys/block";
const MAPPED: &str = "usr";
/// Partition label -> slot.
const SLOTS: [(&str, char); 2] = [("USR-A", 'a'), ("USR-B", 'b')];

/// None where `/usr` is no mapped device, as in a container.
pub fn slot(root: &Root) -> Option<char> {
    let device = entries(&root.at(BLOCK))
        .into_iter()
        .find(|device| fs::read_to_string(device.join("dm/name")).is_ok_and(|name| name.trim() == MAPPED))?;
    // Data and hashes: only the data's label is a slot's whole name.
    entries(&device.join("slaves")).iter().find_map(|partition| {
        let facts = fs::read_to_string(partition.join("uevent")).ok()?;
        let label = facts.lines().find_map(|line| line.strip_prefix("PARTNAME="))?;
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
    }

    #[test]
    fn the_data_partition_names_the_slot() {
        check(&["USR-A", "USR-A-verity"], "usr", Some('a'));
        check(&["USR-B-verity", "USR-B"], "usr", Some('b'));
        check(&["USR-A", "USR-A-verity"], "swap", None);
        check(&["OTHER"], "usr", None);
    }

    #[test]
    fn a_container_has_none() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(slot(&Root::from(folder.path())), None);
    }
}
