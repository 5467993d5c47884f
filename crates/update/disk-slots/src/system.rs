//! Finds the devices of the running system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use release::Digest;

/// The device mapper name of `/usr`, set by systemd-veritysetup.
const MAPPED: &str = "usr";
const PARAMETER: &str = "usrhash=";

/// Why the machine's disk was not found.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum SystemError {
    #[error("this machine was not booted from a slot: the kernel command line lacks usrhash=")]
    NoRootHash,
    #[error("cannot find the disk of /usr: {0}")]
    NoDisk(String),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
}

/// The disk of the running system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    /// The root hash in the kernel's command line.
    pub running: Digest,
    /// `/dev/vda`.
    pub disk: PathBuf,
    name: String,
}

/// Reads `/proc` and `/sys` below `root`. Returned devices are in `root`'s `/dev`.
pub fn find_devices(root: &Path) -> Result<Devices, SystemError> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| SystemError::Read { path: path.to_owned(), source })
    };
    let line = read(&root.join("proc/cmdline"))?;
    let running = line
        .split_ascii_whitespace()
        .find_map(|word| word.strip_prefix(PARAMETER)?.parse().ok())
        .ok_or(SystemError::NoRootHash)?;
    let blocks = root.join("sys/block");
    let list = |path: &Path| -> Result<Vec<String>, SystemError> {
        let names = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
        let names = names.map_err(|source| SystemError::Read { path: path.to_owned(), source })?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    };
    for mapped in list(&blocks)? {
        let folder = blocks.join(&mapped);
        let name = fs::read_to_string(folder.join("dm/name")).unwrap_or_default();
        if name.trim() != MAPPED {
            continue;
        }
        for part in list(&folder.join("slaves"))? {
            if let Some(disk) = list(&blocks)?.into_iter().find(|disk| blocks.join(disk).join(&part).is_dir())
            {
                return Ok(Devices { running, disk: root.join("dev").join(&disk), name: disk });
            }
        }
        return Err(SystemError::NoDisk(format!("{mapped} is not on a partition of a disk")));
    }
    Err(SystemError::NoDisk("there is no device-mapper device `usr`".to_owned()))
}

impl Devices {
    /// The device node of a partition.
    #[must_use]
    pub fn partition(&self, number: u32) -> PathBuf {
        // nvme0n1p2, vda2.
        let separator = if self.name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        PathBuf::from(format!("{}{separator}{number}", self.disk.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_found_by_the_mapped_usr() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("proc/cmdline", "quiet x=1\n");
        assert!(matches!(find_devices(root.path()), Err(SystemError::NoRootHash)));
        put("proc/cmdline", &format!("quiet usrhash={} x=1\n", "ab".repeat(32)));
        put("sys/block/vda/vda2/partition", "2\n");
        put("sys/block/nvme0n1/nvme0n1p2/partition", "2\n");
        assert!(matches!(find_devices(root.path()), Err(SystemError::NoDisk(_))));
        put("sys/block/dm-0/dm/name", "root\n");
        put("sys/block/dm-1/dm/name", "usr\n");
        put("sys/block/dm-1/slaves/nvme0n1p2/x", "");
        let found = find_devices(root.path()).unwrap();
        assert_eq!(found.running, Digest([0xab; 32]));
        assert_eq!(found.disk, root.path().join("dev/nvme0n1"));
        assert_eq!(found.partition(4), root.path().join("dev/nvme0n1p4"));
        let vda = Devices { disk: "/dev/vda".into(), name: "vda".into(), ..found };
        assert_eq!(vda.partition(4), Path::new("/dev/vda4"));
    }
}
