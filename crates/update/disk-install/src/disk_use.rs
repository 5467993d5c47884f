//! What a disk is used for, and the command that frees it.

use std::fmt;

/// Why a disk is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskUse {
    /// `device` is mounted at `folder`.
    Mounted {
        /// `/dev/sda1`.
        device: String,
        /// The mount point.
        folder: String,
    },
    /// `device` is swap space.
    Swap {
        /// `/dev/sda2`.
        device: String,
    },
    /// Another block device is on `device`.
    Held {
        /// `/dev/sda3`.
        device: String,
        /// That device.
        holder: Holder,
    },
}

/// A block device on another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A logical volume of the device mapper, with its name there: `group-volume`.
    LogicalVolume(String),
    /// An open LUKS or plain dm-crypt volume.
    Encrypted(String),
    /// A multipath device.
    Multipath(String),
    /// Another device of the device mapper.
    Mapped(String),
    /// A RAID array: `md0`.
    Raid(String),
    /// A loop device with the file as its backing file: `loop0`.
    Loop(String),
    /// Any other: its name in sysfs.
    Other(String),
}

impl DiskUse {
    /// The command that ends this use; `None` if there is no common one.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Mounted { folder, .. } if folder.contains(char::is_whitespace) => {
                Some(format!("umount '{folder}'"))
            }
            Self::Mounted { folder, .. } => Some(format!("umount {folder}")),
            Self::Swap { device } => Some(format!("swapoff {device}")),
            Self::Held { holder, .. } => holder.command(),
        }
    }
}

impl fmt::Display for DiskUse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted { device, folder } => write!(out, "{device} is mounted at {folder}")?,
            Self::Swap { device } => write!(out, "{device} is used as swap space")?,
            Self::Held { device, holder } => write!(out, "{device} is part of {holder}")?,
        }
        match self.command() {
            Some(command) => write!(out, " (to free it: {command})"),
            None => Ok(()),
        }
    }
}

impl Holder {
    fn command(&self) -> Option<String> {
        match self {
            Self::LogicalVolume(name) => Some(format!("vgchange -an {}", volume_group(name))),
            Self::Encrypted(name) => Some(format!("cryptsetup close {name}")),
            Self::Multipath(name) => Some(format!("multipath -f {name}")),
            Self::Mapped(name) => Some(format!("dmsetup remove {name}")),
            Self::Raid(name) => Some(format!("mdadm --stop /dev/{name}")),
            Self::Loop(name) => Some(format!("losetup -d /dev/{name}")),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::LogicalVolume(name) => ("the logical volume", name),
            Self::Encrypted(name) => ("the encrypted volume", name),
            Self::Multipath(name) => ("the multipath device", name),
            Self::Mapped(name) => ("the mapped device", name),
            Self::Raid(name) => ("the RAID array", name),
            Self::Loop(name) => ("the loop device", name),
            Self::Other(name) => ("the device", name),
        };
        write!(out, "{kind} {name}")
    }
}

/// The volume group in a name of the device mapper, where LVM doubles the hyphens of both names.
fn volume_group(name: &str) -> String {
    let plain = name.replace("--", "\0");
    plain.split('-').next().unwrap_or_default().replace('\0', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_name_the_command_that_ends_them() {
        let check = |holder: Holder, expected: &str| {
            let text = DiskUse::Held { device: "/dev/sda3".into(), holder }.to_string();
            assert_eq!(text, format!("/dev/sda3 is part of {expected}"));
        };
        check(
            Holder::LogicalVolume("my--group-root".into()),
            "the logical volume my--group-root (to free it: vgchange -an my-group)",
        );
        check(Holder::Encrypted("c".into()), "the encrypted volume c (to free it: cryptsetup close c)");
        check(Holder::Multipath("m".into()), "the multipath device m (to free it: multipath -f m)");
        check(Holder::Mapped("x".into()), "the mapped device x (to free it: dmsetup remove x)");
        check(Holder::Raid("md0".into()), "the RAID array md0 (to free it: mdadm --stop /dev/md0)");
        check(Holder::Loop("loop1".into()), "the loop device loop1 (to free it: losetup -d /dev/loop1)");
        check(Holder::Other("bcache0".into()), "the device bcache0");
        let mounted = DiskUse::Mounted { device: "/dev/sda1".into(), folder: "/mnt".into() };
        assert_eq!(mounted.to_string(), "/dev/sda1 is mounted at /mnt (to free it: umount /mnt)");
        let swap = DiskUse::Swap { device: "/dev/sda2".into() };
        assert_eq!(swap.to_string(), "/dev/sda2 is used as swap space (to free it: swapoff /dev/sda2)");
    }
}
