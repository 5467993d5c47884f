//! Takes a disk out of RAID arrays and LVM, for an installation that shall replace them.
//!
//! Only devices that nothing uses are stopped: one with a mounted file system, swap space or another device on it stays, and
//! the disk is refused. What other disks have of an array or a volume group is not changed.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk_use::{DiskUse, Holder};

/// Part of LVM, which is in the image; the rest of LVM is not.
const DMSETUP: &str = "dmsetup";

/// Why a disk cannot be taken out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ReleaseError {
    #[error("cannot stop the RAID array {name}")]
    Raid { name: String, source: io::Error },
    #[error("cannot start {DMSETUP} (package dmsetup)")]
    Start(#[source] io::Error),
    #[error("cannot deactivate the logical volume {name}: {output}")]
    LogicalVolume { name: String, output: String },
}

/// Stops what is on a disk.
#[derive(Debug)]
pub struct Releaser {
    /// Of sysfs.
    root: PathBuf,
}

impl Releaser {
    /// `root` is that of the running system.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether a disk with these uses can be taken out: all are RAID arrays or logical volumes, and nothing is on them.
    #[must_use]
    pub fn can(uses: &[DiskUse]) -> bool {
        let may_stop = |of: &DiskUse| {
            matches!(of, DiskUse::Held { holder: Holder::Raid(_) | Holder::LogicalVolume(_), .. })
        };
        uses.iter().all(may_stop)
    }

    /// Stops them. Calls `report` with what is stopped, before.
    ///
    /// # Errors
    /// One cannot be stopped: it came into use. Those before it are stopped, with their content as it was.
    pub fn release(&self, uses: &[DiskUse], report: &dyn Fn(&str)) -> Result<(), ReleaseError> {
        for holder in order(uses) {
            match holder {
                Holder::Raid(name) => {
                    report(&format!("Stopping the RAID array {name}"));
                    let file = self.root.join("sys/block").join(name).join("md/array_state");
                    // As the ioctl STOP_ARRAY (Documentation/admin-guide/md.rst): refused while it is in use.
                    let stopped = OpenOptions::new()
                        .write(true)
                        .open(file)
                        .and_then(|mut file| file.write_all(b"clear\n"));
                    stopped.map_err(|source| ReleaseError::Raid { name: name.clone(), source })?;
                }
                Holder::LogicalVolume(name) => {
                    report(&format!("Deactivating the logical volume {name}"));
                    remove(name)?;
                }
                // Those of `can`.
                _ => {}
            }
        }
        Ok(())
    }
}

/// What is on another one first, and each once.
fn order(uses: &[DiskUse]) -> Vec<&Holder> {
    let mut holders = Vec::new();
    for of in uses.iter().rev() {
        if let DiskUse::Held { holder, .. } = of
            && !holders.contains(&holder)
        {
            holders.push(holder);
        }
    }
    holders
}

fn remove(name: &str) -> Result<(), ReleaseError> {
    let output = Command::new(DMSETUP)
        .args(["remove", "--retry", "--", name])
        .stdin(Stdio::null())
        .output()
        .map_err(ReleaseError::Start)?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ReleaseError::LogicalVolume { name: name.to_owned(), output })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs;

    use super::*;

    fn held(device: &str, holder: Holder) -> DiskUse {
        DiskUse::Held { device: device.to_owned(), holder }
    }

    #[test]
    fn only_what_nothing_uses_can_be_stopped() {
        let raid = || held("/dev/sda1", Holder::Raid("md0".into()));
        let volume = || held("/dev/md0", Holder::LogicalVolume("group-data".into()));
        assert!(Releaser::can(&[]));
        assert!(Releaser::can(&[raid(), volume()]));
        let mounted = DiskUse::Mounted { device: "/dev/dm-0".into(), folder: "/srv".into() };
        let swap = DiskUse::Swap { device: "/dev/md0".into() };
        let encrypted = held("/dev/dm-0", Holder::Encrypted("secret".into()));
        for other in [mounted, swap, encrypted, held("/dev/sda", Holder::Multipath("m".into()))] {
            assert!(!Releaser::can(&[raid(), volume(), other.clone()]), "{other}");
        }
    }

    #[test]
    fn the_innermost_device_is_last_and_each_is_stopped_once() {
        let uses = [
            held("/dev/sda1", Holder::Raid("md0".into())),
            held("/dev/md0", Holder::LogicalVolume("group-a".into())),
            held("/dev/sda2", Holder::Raid("md0".into())),
            held("/dev/md0", Holder::LogicalVolume("group-a".into())),
        ];
        let names: Vec<_> = order(&uses).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["the logical volume group-a", "the RAID array md0"]);
    }

    #[test]
    fn an_array_is_stopped_by_its_state() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/block/md0/md");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("array_state"), "").unwrap();
        let lines = RefCell::new(Vec::new());
        let report = |line: &str| lines.borrow_mut().push(line.to_owned());
        let releaser = Releaser::new(root.path());
        releaser.release(&[held("/dev/sda", Holder::Raid("md0".into()))], &report).unwrap();
        assert_eq!(fs::read_to_string(folder.join("array_state")).unwrap(), "clear\n");
        let gone = releaser.release(&[held("/dev/sda", Holder::Raid("md1".into()))], &report).unwrap_err();
        assert_eq!(gone.to_string(), "cannot stop the RAID array md1");
        assert_eq!(*lines.borrow(), ["Stopping the RAID array md0", "Stopping the RAID array md1"]);
    }
}
