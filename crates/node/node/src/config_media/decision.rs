//! The rule, without input or output.

use serde::{Deserialize, Serialize};

/// Config drives and seeds are small; the specification of config drives allows 64 MiB.
const MAX_WRITABLE_BYTES: u64 = 256 << 20;

/// A disk or partition, by what its writer cannot change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// udev's persistent path, which the partitions of a disk share: the place on the machine's buses.
    pub path: String,
    pub partition: Option<String>,
    pub serial: Option<String>,
}

/// The writable disks that provided the configuration of the last boot; may be empty.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub media: Vec<Medium>,
}

#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The boot is over.
    pub is_closed: bool,
    /// It is on no bus: a loop device, a RAID, a RAM disk.
    pub is_virtual: bool,
    /// The machine cannot write to it.
    pub is_read_only: bool,
    /// Another one was accepted in this boot.
    pub has_other: bool,
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is a virtual device")]
    Virtual,
    #[error("the boot is over; mount it and run coreos-cloudinit to apply it now")]
    BootIsOver,
    #[error(
        "it is writable, and is not the one of the last boot; attach it read-only, or remove \
         /var/lib/keelson/config-media.json to accept any disk in the next boot"
    )]
    NotRecorded,
    #[error("it is writable, and another disk provides the configuration")]
    Second,
    #[error("it is writable, and larger than {} MiB; attach it read-only", MAX_WRITABLE_BYTES >> 20)]
    TooLarge,
}

/// Decides about a disk that was not accepted yet. `record` is `None` until the machine was configured.
pub fn decide(medium: Option<&Medium>, facts: &Facts, record: Option<&Record>) -> Result<(), Refusal> {
    if facts.is_virtual {
        return Err(Refusal::Virtual);
    }
    if facts.is_closed {
        return Err(Refusal::BootIsOver);
    }
    if facts.is_read_only {
        return Ok(());
    }
    match record {
        Some(record) if medium.is_some_and(|medium| record.media.contains(medium)) => Ok(()),
        Some(_) => Err(Refusal::NotRecorded),
        None if facts.has_other => Err(Refusal::Second),
        None if facts.bytes > MAX_WRITABLE_BYTES => Err(Refusal::TooLarge),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTING: Facts =
        Facts { is_closed: false, is_virtual: false, is_read_only: false, has_other: false, bytes: 64 << 20 };

    fn medium(path: &str, partition: Option<&str>, serial: Option<&str>) -> Medium {
        Medium {
            path: path.to_owned(),
            partition: partition.map(str::to_owned),
            serial: serial.map(str::to_owned),
        }
    }

    #[test]
    fn small_disks_are_accepted_during_the_first_boot() {
        let drive = medium("pci-1", None, None);
        let check =
            |facts: Facts, expect| assert_eq!(decide(Some(&drive), &facts, None), expect, "{facts:?}");
        check(BOOTING, Ok(()));
        check(Facts { is_virtual: true, is_read_only: true, ..BOOTING }, Err(Refusal::Virtual));
        check(Facts { is_closed: true, is_read_only: true, ..BOOTING }, Err(Refusal::BootIsOver));
        check(Facts { has_other: true, ..BOOTING }, Err(Refusal::Second));
        check(Facts { bytes: 1 << 30, ..BOOTING }, Err(Refusal::TooLarge));
        check(Facts { has_other: true, bytes: 1 << 30, is_read_only: true, ..BOOTING }, Ok(()));
    }

    #[test]
    fn later_boots_accept_writable_disks_only_if_they_are_recorded() {
        let record = Record { media: vec![medium("pci-1", Some("2"), Some("s"))] };
        let check = |medium: &Medium, accepted: bool| {
            let expect = if accepted { Ok(()) } else { Err(Refusal::NotRecorded) };
            assert_eq!(decide(Some(medium), &BOOTING, Some(&record)), expect, "{medium:?}");
            let read_only = Facts { is_read_only: true, ..BOOTING };
            assert_eq!(decide(Some(medium), &read_only, Some(&record)), Ok(()));
        };
        check(&medium("pci-1", Some("2"), Some("s")), true);
        check(&medium("pci-2", Some("2"), Some("s")), false);
        check(&medium("pci-1", Some("3"), Some("s")), false);
        check(&medium("pci-1", None, Some("s")), false);
        check(&medium("pci-1", Some("2"), Some("t")), false);
        check(&medium("pci-1", Some("2"), None), false);
        assert_eq!(decide(None, &BOOTING, Some(&record)), Err(Refusal::NotRecorded));
    }
}
