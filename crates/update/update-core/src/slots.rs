//! The two slots and the boot entries of a machine, and plans to change them.
//!
//! After any prefix of a plan the machine boots: no step touches the running version, no entry refers to an
//! incomplete slot, and the boot entry of the new version comes last.

use release::{Digest, Release, Version};

use crate::entry::Name;

/// A slot: the partitions for `/usr` and for its verity hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// `a` or `b`, from the partition labels USR-A and USR-B.
    pub name: char,
    /// The root hash, from the UUIDs of both partitions. The content is not verified.
    pub root_hash: Digest,
    /// Size of the `/usr` partition in bytes.
    pub capacity: u64,
    /// Size of the hash tree partition in bytes.
    pub verity_capacity: u64,
}

/// One of our boot images in the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Name,
    /// The root hash of its `/usr`; `None` if the file is damaged.
    pub root_hash: Option<Digest>,
    pub bytes: u64,
}

/// What determines which version boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The root hash in the running kernel's command line.
    pub running: Digest,
    pub slots: [Slot; 2],
    pub entries: Vec<Entry>,
    /// Free bytes in the ESP, including those of [`TEMPORARY`].
    pub esp_free: u64,
}

/// One change. A boot image is *disarmed* while its first sector is zero: no loader accepts it, whatever a power cut
/// does to its name. Writing that sector makes the version bootable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Disarms the entry first: the slot it refers to is about to be overwritten.
    RemoveEntry { file: String },
    /// Writes `/usr`, its hash tree and the boot image under a temporary name, and reads all of it back from the
    /// disk.
    Fill { slot: char, temporary: String },
    /// Sets the UUIDs of the partitions, by which the boot image finds them.
    NameSlot { slot: char, root_hash: Digest },
    /// Disarms, renames and arms the entry.
    PlaceEntry { from: String, to: String },
    /// Changes the tries of the running entry, or of one that was good. It is never disarmed: after a power cut it
    /// has one name or the other.
    CountEntry { from: String, to: String },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("version {0} is what runs")]
    Running(Version),
    #[error("no slot of this disk holds what runs: there is nowhere to go back to")]
    NoSlot,
    #[error(
        "version {0}, which runs, has not been found good yet: its other slot is what this machine would fall back to"
    )]
    NotProven(Version),
    #[error("the boot partition has no image of what runs")]
    NoEntry,
    #[error("/usr has {wanted} bytes, slot {slot} room for {capacity}")]
    SlotTooSmall { slot: char, wanted: u64, capacity: u64 },
    #[error(
        "the boot partition has {free} bytes free, the new boot image needs {wanted}; what power cuts have left there is \
         free again after: umount /boot; fsck.vfat -a /dev/disk/by-partlabel/EFI-SYSTEM; rm -f /boot/FSCK*.REC"
    )]
    BootPartitionFull { free: u64, wanted: u64 },
    #[error("there is no other version on this machine to go back to")]
    NothingElse,
    #[error(
        "version {0}, in the other slot, was not found good on this machine: there is nothing to go back to"
    )]
    OtherNotGood(Version),
}

/// Name of the boot image while it is written.
pub const TEMPORARY: &str = ".keelson-update.tmp";
/// Space for directories and partially filled clusters in the ESP.
const ESP_RESERVE: u64 = 1 << 20;

impl Machine {
    /// The running slot and the other one.
    pub fn split(&self) -> Result<(&Slot, &Slot), Refusal> {
        match &self.slots {
            // Both slots have this root hash after a manual installation of the running version.
            [a, b] if a.root_hash == b.root_hash => Err(Refusal::NoSlot),
            [a, b] if a.root_hash == self.running => Ok((a, b)),
            [a, b] if b.root_hash == self.running => Ok((b, a)),
            _ => Err(Refusal::NoSlot),
        }
    }

    /// The running entry; of several the one that the loader would select.
    pub fn running_entry(&self) -> Result<&Entry, Refusal> {
        let runs = |entry: &&Entry| entry.root_hash == Some(self.running);
        self.entries.iter().filter(runs).min_by_key(|entry| entry.name.is_bad()).ok_or(Refusal::NoEntry)
    }

    /// In systemd-boot's order: entries without tries left come last, else the newest version comes first.
    #[must_use]
    pub fn boot_order(&self) -> Vec<&Entry> {
        let mut order: Vec<&Entry> = self.entries.iter().collect();
        order.sort_by(|a, b| {
            let by_version = || b.name.version.cmp(&a.name.version);
            a.name.is_bad().cmp(&b.name.is_bad()).then_with(by_version)
        });
        order
    }

    /// The steps to boot `release` next. Steps that the disk shows as done are left out.
    pub fn install(&self, release: &Release) -> Result<Vec<Step>, Refusal> {
        let wanted = release.images.verity.root_hash;
        if wanted == self.running {
            return Err(Refusal::Running(release.version.clone()));
        }
        let (_, target) = self.split()?;
        let running = self.running_entry()?;
        if !running.name.is_good() {
            return Err(Refusal::NotProven(running.name.version.clone()));
        }
        if release.images.usr.size > target.capacity {
            let (slot, wanted, capacity) = (target.name, release.images.usr.size, target.capacity);
            return Err(Refusal::SlotTooSmall { slot, wanted, capacity });
        }
        let others = self.entries.iter().filter(|entry| *entry != running);
        // Their images are removed first.
        let free = self.esp_free + others.clone().map(|entry| entry.bytes).sum::<u64>();
        let wanted_bytes = release.images.uki.size + ESP_RESERVE;
        if free < wanted_bytes {
            return Err(Refusal::BootPartitionFull { free, wanted: wanted_bytes });
        }
        let name = Name::new(&running.name.id, &release.version);
        let mut steps: Vec<Step> =
            others.map(|entry| Step::RemoveEntry { file: entry.name.to_string() }).collect();
        steps.push(Step::Fill { slot: target.name, temporary: TEMPORARY.to_owned() });
        steps.push(Step::NameSlot { slot: target.name, root_hash: wanted });
        steps.push(Step::PlaceEntry { from: TEMPORARY.to_owned(), to: name.to_string() });
        // The loader prefers the newest version: for a downgrade mark the running one bad. If the older one fails,
        // both are out of tries, and the loader selects the newest of those, which is the running one.
        if release.version <= running.name.version {
            steps.push(step_back(&running.name));
        }
        Ok(steps)
    }

    /// The steps to boot the other version next, if it was good, and the running one only if that fails.
    pub fn roll_back(&self) -> Result<(Version, Vec<Step>), Refusal> {
        let (_, other) = self.split()?;
        let running = self.running_entry()?;
        let other = self
            .entries
            .iter()
            .find(|entry| entry.root_hash == Some(other.root_hash))
            .ok_or(Refusal::NothingElse)?;
        if !other.name.is_good() && !other.name.has_stepped_back() {
            return Err(Refusal::OtherNotGood(other.name.version.clone()));
        }
        let mut steps = Vec::new();
        if other.name.is_bad() {
            let again = Name::new(&other.name.id, &other.name.version);
            steps.push(Step::CountEntry { from: other.name.to_string(), to: again.to_string() });
        }
        if other.name.version < running.name.version {
            steps.push(step_back(&running.name));
        }
        Ok((other.name.version.clone(), steps))
    }

    /// The steps to discard a pending update. Keeps the slot's content.
    pub fn forget_pending(&self) -> Result<Vec<Step>, Refusal> {
        let running = self.running_entry()?;
        let mut steps = Vec::new();
        if running.name.is_bad() {
            // The running entry was marked bad for another version. One on trial stays on trial.
            let back = running.name.taken_up();
            steps.push(Step::CountEntry { from: running.name.to_string(), to: back.to_string() });
        }
        let pending = self.entries.iter().filter(|entry| {
            *entry != running && entry.name.tries.is_some_and(|tries| tries.done == 0 && tries.left > 0)
        });
        steps.extend(pending.map(|entry| Step::RemoveEntry { file: entry.name.to_string() }));
        Ok(steps)
    }

    /// Entries, except the running one, without tries left. One that was good before
    /// ([`EntryName::has_failed_after_good`]) may be installed again, which rewrites its slot.
    pub fn failed(&self) -> impl Iterator<Item = &Entry> {
        let tried = |entry: &&Entry| {
            entry.root_hash != Some(self.running)
                && entry.name.tries.is_some_and(|tries| tries.left == 0 && tries.done > 0)
        };
        self.entries.iter().filter(tried)
    }
}

fn step_back(name: &Name) -> Step {
    Step::CountEntry { from: name.to_string(), to: name.given_up().to_string() }
}

#[cfg(test)]
mod tests;
