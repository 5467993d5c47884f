//! The two slots and the boot entries of a machine, and plans to change them.
//!
//! After any prefix of a plan the machine boots: no step touches the running version, no entry refers to an
//! incomplete slot, and the boot entry of the new version comes last.

use release::{Digest, Release, Version};

use crate::entry::EntryName;

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
    /// As the file is named.
    pub name: EntryName,
    /// The root hash of its `/usr`; `None` if the file is damaged.
    pub root_hash: Option<Digest>,
    /// Size of the file.
    pub bytes: u64,
}

/// What determines which version boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootState {
    /// The root hash in the running kernel's command line.
    pub running: Digest,
    /// [`BootState::running`] tells which one is active.
    pub slots: [Slot; 2],
    /// In any order; those of other systems are not listed.
    pub entries: Vec<Entry>,
    /// Free bytes in the ESP, including those of [`TEMPORARY`].
    pub esp_free: u64,
}

/// One change. A boot image is *disarmed* while its first sector is zero: no loader accepts it, whatever a power cut
/// does to its name. Writing that sector makes the version bootable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Disarms the entry first: the slot it refers to is about to be overwritten.
    RemoveEntry {
        /// Name of the boot image.
        file: String,
    },
    /// Writes `/usr`, its hash tree and the boot image under a temporary name, and reads all of it back from the
    /// disk.
    Fill {
        /// Name of the slot.
        slot: char,
        /// File name of the boot image until the slot is complete.
        temporary: String,
    },
    /// Sets the UUIDs of the partitions, by which the boot image finds them.
    SetSlotUuids {
        /// Name of the slot.
        slot: char,
        /// The new version's; both UUIDs are made of it.
        root_hash: Digest,
    },
    /// Disarms, renames and arms the entry.
    ActivateEntry {
        /// Current file name.
        from: String,
        /// File name with the version and its tries.
        to: String,
    },
    /// Changes the tries of the running entry, or of one that was good. It is never disarmed: after a power cut it
    /// has one name or the other.
    SetTries {
        /// Current file name.
        from: String,
        /// File name with other tries, or none.
        to: String,
    },
}

/// Why the slots cannot be changed as requested. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PlanError {
    #[error("version {0} is already running")]
    Running(Version),
    #[error("no slot of this disk contains the running version: rollback is not possible")]
    NoSlot,
    #[error("the running version {0} is not marked good yet: the other slot is still its fallback")]
    RunningNotGood(Version),
    #[error("the boot partition has no boot image of the running version")]
    NoEntry,
    #[error("/usr has {wanted} bytes and does not fit in slot {slot} with {capacity} bytes")]
    SlotTooSmall { slot: char, wanted: u64, capacity: u64 },
    #[error(
        "the boot partition has {free} bytes free, the new boot image needs {wanted}; to recover space lost in power \
         cuts: umount /boot; fsck.vfat -a /dev/disk/by-partlabel/EFI-SYSTEM; rm -f /boot/FSCK*.REC"
    )]
    BootPartitionFull { free: u64, wanted: u64 },
    #[error("there is no other version on this machine to roll back to")]
    NoOtherVersion,
    #[error("version {0} in the other slot is not marked good on this machine: rollback is not possible")]
    OtherNotGood(Version),
}

/// Name of the boot image while it is written.
pub const TEMPORARY: &str = ".keelson-update.tmp";
/// Space for directories and partially filled clusters in the ESP.
const ESP_RESERVE: u64 = 1 << 20;

impl BootState {
    /// The running slot and the other one.
    pub fn running_and_other(&self) -> Result<(&Slot, &Slot), PlanError> {
        match &self.slots {
            // Both slots have this root hash after a manual installation of the running version.
            [a, b] if a.root_hash == b.root_hash => Err(PlanError::NoSlot),
            [a, b] if a.root_hash == self.running => Ok((a, b)),
            [a, b] if b.root_hash == self.running => Ok((b, a)),
            _ => Err(PlanError::NoSlot),
        }
    }

    /// The running entry; of several the one that the loader would select.
    pub fn running_entry(&self) -> Result<&Entry, PlanError> {
        let runs = |entry: &&Entry| entry.root_hash == Some(self.running);
        self.entries.iter().filter(runs).min_by_key(|entry| entry.name.is_bad()).ok_or(PlanError::NoEntry)
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
    pub fn plan_install(&self, release: &Release) -> Result<Vec<Step>, PlanError> {
        let wanted = release.images.verity.root_hash;
        if wanted == self.running {
            return Err(PlanError::Running(release.version.clone()));
        }
        let (_, target) = self.running_and_other()?;
        let running = self.running_entry()?;
        if !running.name.is_good() {
            return Err(PlanError::RunningNotGood(running.name.version.clone()));
        }
        if release.images.usr.size > target.capacity {
            let (slot, wanted, capacity) = (target.name, release.images.usr.size, target.capacity);
            return Err(PlanError::SlotTooSmall { slot, wanted, capacity });
        }
        let others = self.entries.iter().filter(|entry| *entry != running);
        // Their images are removed first.
        let free = self.esp_free + others.clone().map(|entry| entry.bytes).sum::<u64>();
        let wanted_bytes = release.images.uki.size + ESP_RESERVE;
        if free < wanted_bytes {
            return Err(PlanError::BootPartitionFull { free, wanted: wanted_bytes });
        }
        let name = EntryName::new(&running.name.id, &release.version);
        let mut steps: Vec<Step> =
            others.map(|entry| Step::RemoveEntry { file: entry.name.to_string() }).collect();
        steps.push(Step::Fill { slot: target.name, temporary: TEMPORARY.to_owned() });
        steps.push(Step::SetSlotUuids { slot: target.name, root_hash: wanted });
        steps.push(Step::ActivateEntry { from: TEMPORARY.to_owned(), to: name.to_string() });
        // The loader prefers the newest version: for a downgrade mark the running one bad. If the older one fails,
        // both are out of tries, and the loader selects the newest of those, which is the running one.
        if release.version <= running.name.version {
            steps.push(mark_bad(&running.name));
        }
        Ok(steps)
    }

    /// The steps to boot the other version next, if it was good, and the running one only if that fails.
    pub fn plan_rollback(&self) -> Result<(Version, Vec<Step>), PlanError> {
        let (_, other) = self.running_and_other()?;
        let running = self.running_entry()?;
        let other = self
            .entries
            .iter()
            .find(|entry| entry.root_hash == Some(other.root_hash))
            .ok_or(PlanError::NoOtherVersion)?;
        if !other.name.is_good() && !other.name.is_rolled_back() {
            return Err(PlanError::OtherNotGood(other.name.version.clone()));
        }
        let mut steps = Vec::new();
        if other.name.is_bad() {
            let again = EntryName::new(&other.name.id, &other.name.version);
            steps.push(Step::SetTries { from: other.name.to_string(), to: again.to_string() });
        }
        if other.name.version < running.name.version {
            steps.push(mark_bad(&running.name));
        }
        Ok((other.name.version.clone(), steps))
    }

    /// The steps to discard a pending update. Keeps the slot's content.
    pub fn plan_discard_pending(&self) -> Result<Vec<Step>, PlanError> {
        let running = self.running_entry()?;
        let mut steps = Vec::new();
        if running.name.is_bad() {
            // The running entry was marked bad for another version. One on trial stays on trial.
            let back = running.name.unmarked_bad();
            steps.push(Step::SetTries { from: running.name.to_string(), to: back.to_string() });
        }
        let pending = self.entries.iter().filter(|entry| {
            *entry != running && entry.name.tries.is_some_and(|tries| tries.done == 0 && tries.left > 0)
        });
        steps.extend(pending.map(|entry| Step::RemoveEntry { file: entry.name.to_string() }));
        Ok(steps)
    }

    /// Entries, except the running one, without tries left. One that was good before
    /// ([`EntryName::has_failed_after_good`]) may be installed again, which rewrites its slot.
    pub fn failed_entries(&self) -> impl Iterator<Item = &Entry> {
        let tried = |entry: &&Entry| {
            entry.root_hash != Some(self.running)
                && entry.name.tries.is_some_and(|tries| tries.left == 0 && tries.done > 0)
        };
        self.entries.iter().filter(tried)
    }
}

fn mark_bad(name: &EntryName) -> Step {
    Step::SetTries { from: name.to_string(), to: name.marked_bad().to_string() }
}

#[cfg(test)]
mod tests;
