//! The machine's two slots and its boot images as one value, and what is to be done to them.
//!
//! Every plan is a list of steps of which each prefix leaves a machine that boots: what runs is never touched, nothing
//! names a slot that is not whole, and the boot image comes last.

use release::{Digest, Release, Version};

use crate::entry::Name;

/// One slot: a partition for `/usr` and one for its hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// `a` or `b`: by the partition's label, USR-A or USR-B.
    pub name: char,
    /// The root hash that the two partitions' UUIDs are the halves of. Nothing says that it holds what it names.
    pub root_hash: Digest,
    /// Bytes of the partition for `/usr`.
    pub capacity: u64,
    /// Bytes of the partition for its hash tree.
    pub verity_capacity: u64,
}

/// A boot image of ours in the ESP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Name,
    /// The `/usr` that it wants; None where the file is damaged.
    pub root_hash: Option<Digest>,
    pub bytes: u64,
}

/// All that decides what can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The root hash that this machine was booted with.
    pub running: Digest,
    pub slots: [Slot; 2],
    pub entries: Vec<Entry>,
    /// Bytes that are free in the ESP, or taken by [`TEMPORARY`].
    pub esp_free: u64,
}

/// One change. A boot image is *disarmed* while its first bytes are empty: no loader takes it for one, whatever of its
/// name a power cut leaves; writing that one sector is what makes a version bootable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Disarmed first: nothing may boot what is about to be overwritten.
    RemoveEntry { file: String },
    /// Content of `/usr`, its hash tree, and the boot image under a name that no boot loader takes; all of it read
    /// again from the disk.
    Fill { slot: char, temporary: String },
    /// The partitions get their UUIDs, by which the boot image finds them.
    NameSlot { slot: char, root_hash: Digest },
    /// Disarmed, renamed, armed.
    PlaceEntry { from: String, to: String },
    /// The boot image of what runs, or of a version that was good, gets another count. It is never disarmed: a cut leaves it
    /// under one name or the other.
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

/// What the boot image is called while it is written.
pub const TEMPORARY: &str = ".keelson-update.tmp";
/// The ESP's own need: folders, and clusters that are not full.
const ESP_RESERVE: u64 = 1 << 20;

impl Machine {
    /// The slot that runs and the other one.
    pub fn split(&self) -> Result<(&Slot, &Slot), Refusal> {
        match &self.slots {
            // Both have the name after a version was installed over itself by hand.
            [a, b] if a.root_hash == b.root_hash => Err(Refusal::NoSlot),
            [a, b] if a.root_hash == self.running => Ok((a, b)),
            [a, b] if b.root_hash == self.running => Ok((b, a)),
            _ => Err(Refusal::NoSlot),
        }
    }

    /// The boot image of what runs; of several the one that the loader would take.
    pub fn running_entry(&self) -> Result<&Entry, Refusal> {
        let runs = |entry: &&Entry| entry.root_hash == Some(self.running);
        self.entries.iter().filter(runs).min_by_key(|entry| entry.name.is_bad()).ok_or(Refusal::NoEntry)
    }

    /// In the order that systemd-boot takes them: what has no tries left comes last, else the newest first.
    #[must_use]
    pub fn boot_order(&self) -> Vec<&Entry> {
        let mut order: Vec<&Entry> = self.entries.iter().collect();
        order.sort_by(|a, b| {
            let by_version = || b.name.version.cmp(&a.name.version);
            a.name.is_bad().cmp(&b.name.is_bad()).then_with(by_version)
        });
        order
    }

    /// What to do so that `release` is booted next, with as much of it done as the disk shows.
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
        // The loader takes the newest: going down, what runs has to step back. Should the older one not come up
        // either, both are out of tries, and the newest of those is what runs now.
        if release.version <= running.name.version {
            steps.push(step_back(&running.name));
        }
        Ok(steps)
    }

    /// What to do so that the other version, which was good, is booted next, and this one only if that fails.
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

    /// What to do so that nothing is booted but what runs: the way back from an installed update that was not booted
    /// yet. The slot's content stays.
    pub fn forget_pending(&self) -> Result<Vec<Step>, Refusal> {
        let running = self.running_entry()?;
        let mut steps = Vec::new();
        if running.name.is_bad() {
            // It had stepped back for another version. A version on trial stays on trial.
            let back = running.name.taken_up();
            steps.push(Step::CountEntry { from: running.name.to_string(), to: back.to_string() });
        }
        let pending = self.entries.iter().filter(|entry| {
            *entry != running && entry.name.tries.is_some_and(|tries| tries.done == 0 && tries.left > 0)
        });
        steps.extend(pending.map(|entry| Step::RemoveEntry { file: entry.name.to_string() }));
        Ok(steps)
    }

    /// Versions other than the running one that have no tries left. One that was good before ([`Name::is_tried_again`]) may
    /// be installed again, which rewrites its slot.
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
