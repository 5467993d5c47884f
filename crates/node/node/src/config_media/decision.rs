//! The rule, without input or output.

use serde::{Deserialize, Serialize};

/// A disk with a label of cloud-config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medium {
    /// Of the file system, as udev has it.
    pub label: String,
    /// udev's persistent path: the place on the machine's buses.
    pub path: Option<String>,
    /// Of the file system.
    pub uuid: Option<String>,
}

impl Medium {
    /// At the same place, or the same file system at another place.
    fn is(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        self.kind() == other.kind() && (same(&self.path, &other.path) || same(&self.uuid, &other.uuid))
    }

    /// Some tools store labels in upper case.
    fn kind(&self) -> String {
        self.label.to_lowercase()
    }
}

/// The disks that provided the configuration of earlier boots; may be empty.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    media: Vec<Medium>,
}

impl Record {
    /// With the disks of another boot, which replace those of the same kind.
    pub fn with(mut self, mut accepted: Vec<Medium>) -> Self {
        self.media.retain(|old| accepted.iter().all(|new| new.kind() != old.kind()));
        self.media.append(&mut accepted);
        self.media.sort_by(|one, other| (&one.label, &one.path).cmp(&(&other.label, &other.path)));
        self
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// It was accepted in this boot.
    pub is_accepted: bool,
    /// The boot is over.
    pub is_closed: bool,
    /// It is on no bus: a loop device, a RAID, a RAM disk.
    pub is_virtual: bool,
    /// The machine cannot write to it.
    pub is_read_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is a virtual device")]
    Virtual,
    #[error("the boot is over; mount it and run coreos-cloudinit to apply it now")]
    BootIsOver,
    #[error(
        "it is writable, and is not the one of the first boot; attach it read-only, or remove \
         /var/lib/keelson/config-media.json to accept any disk in the next boot"
    )]
    NotRecorded,
}

pub fn decide(medium: &Medium, facts: &Facts, record: Option<&Record>) -> Result<(), Refusal> {
    if facts.is_accepted {
        return Ok(());
    }
    if facts.is_virtual {
        return Err(Refusal::Virtual);
    }
    if facts.is_closed {
        return Err(Refusal::BootIsOver);
    }
    let is_recorded = |record: &Record| record.media.iter().any(|known| known.is(medium));
    if facts.is_read_only || record.is_none_or(is_recorded) { Ok(()) } else { Err(Refusal::NotRecorded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTING: Facts =
        Facts { is_accepted: false, is_closed: false, is_virtual: false, is_read_only: false };

    fn medium(label: &str, path: &str, uuid: &str) -> Medium {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Medium { label: label.to_owned(), path: some(path), uuid: some(uuid) }
    }

    #[test]
    fn disks_are_accepted_during_the_first_boot() {
        let drive = medium("config-2", "pci-1", "AB");
        assert_eq!(decide(&drive, &BOOTING, None), Ok(()));
        assert_eq!(decide(&drive, &Facts { is_virtual: true, ..BOOTING }, None), Err(Refusal::Virtual));
        let closed = Facts { is_closed: true, ..BOOTING };
        assert_eq!(decide(&drive, &closed, None), Err(Refusal::BootIsOver));
        // A later event of a disk that is in use.
        assert_eq!(decide(&drive, &Facts { is_accepted: true, ..closed }, None), Ok(()));
    }

    #[test]
    fn later_boots_accept_writable_disks_only_if_they_are_recorded() {
        let record =
            Record::default().with(vec![medium("config-2", "pci-1", "AB"), medium("OVF_ENV", "", "")]);
        let check = |medium: Medium, accepted: bool| {
            let expect = if accepted { Ok(()) } else { Err(Refusal::NotRecorded) };
            assert_eq!(decide(&medium, &BOOTING, Some(&record)), expect, "{medium:?}");
            assert_eq!(decide(&medium, &Facts { is_read_only: true, ..BOOTING }, Some(&record)), Ok(()));
        };
        check(medium("config-2", "pci-1", "AB"), true);
        check(medium("CONFIG-2", "pci-1", "CD"), true);
        check(medium("config-2", "pci-2", "AB"), true);
        check(medium("config-2", "pci-2", "CD"), false);
        check(medium("cidata", "pci-1", "AB"), false);
        check(medium("config-2", "", ""), false);
        check(medium("OVF_ENV", "", ""), false);
        let empty = Record::default();
        assert_eq!(decide(&medium("cidata", "a", "b"), &BOOTING, Some(&empty)), Err(Refusal::NotRecorded));
    }

    #[test]
    fn a_disk_replaces_the_recorded_one_of_its_kind() {
        let record =
            Record::default().with(vec![medium("config-2", "pci-1", "AB"), medium("cidata", "pci-3", "EF")]);
        assert_eq!(record.clone().with(Vec::new()), record);
        let moved = record.with(vec![medium("config-2", "pci-2", "AB")]);
        assert_eq!(moved.media, [medium("cidata", "pci-3", "EF"), medium("config-2", "pci-2", "AB")]);
    }
}
