//! How far each machine came.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::limits::{DETAIL_BYTES, MACHINES, OFFER_AGE, STAGES};
use crate::machine::{Label, Mac, Uuid};
use crate::query::Query;

/// The steps of a boot, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// DHCP offered a boot file.
    Offer,
    /// The loader, or a UKI by TFTP, is loaded.
    Loader,
    /// iPXE has its script.
    Script,
    /// The kernel, or a UKI by HTTP, is loaded.
    Kernel,
    /// The initrd is loaded.
    Initrd,
    /// The system has its user-data.
    Config,
    /// The system is installed.
    Installed,
    /// The system has booted.
    Ready,
    /// The machine boots from its disk.
    Disk,
}

impl Stage {
    /// The name in logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Loader => "loader",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Config => "config",
            Self::Installed => "installed",
            Self::Ready => "ready",
            Self::Disk => "disk",
        }
    }
}

/// A step of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Which one.
    pub stage: Stage,
    /// Usually a file.
    pub detail: String,
    /// Unix time in seconds.
    pub time: u64,
}

/// A machine and its last boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Of the interface that boots.
    pub mac: Mac,
    /// Of the firmware.
    pub uuid: Option<Uuid>,
    /// Of the system.
    pub serial: Option<Label>,
    /// From DHCP.
    #[serde(rename = "hostname")]
    pub host_name: Option<Label>,
    /// The last one.
    pub address: Option<IpAddr>,
    /// Boots since the server started.
    pub boots: u32,
    /// The steps of the last boot.
    pub stages: Vec<Entry>,
}

/// A change, for logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The machine.
    pub mac: Mac,
    /// Its last known address.
    pub address: Option<IpAddr>,
    /// The step.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What is known of a step when it is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Which one.
    pub stage: Stage,
    /// Usually a file.
    pub detail: &'a str,
    /// It is the offer to firmware, which begins a boot.
    pub is_first: bool,
    /// The machine's address, if the step shows it.
    pub from: Option<IpAddr>,
}

/// The machines that were seen. Beyond their limit the one that was silent for longest is forgotten.
#[derive(Debug, Default)]
pub struct Machines {
    all: BTreeMap<Mac, Machine>,
    addresses: BTreeMap<IpAddr, Mac>,
}

impl Machines {
    /// All machines by MAC address.
    pub fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.all.values()
    }

    /// The machine that has this address.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Option<Mac> {
        self.addresses.get(&address).copied()
    }

    /// Whether a machine has come this far in its last boot.
    #[must_use]
    pub fn has(&self, mac: Mac, stage: Stage) -> bool {
        let machine = self.all.get(&mac);
        machine.is_some_and(|machine| machine.stages.iter().any(|entry| entry.stage == stage))
    }

    /// The machine has this address now.
    pub fn set_address(&mut self, mac: Mac, address: IpAddr) {
        let Some(machine) = self.all.get_mut(&mac) else { return };
        if machine.address == Some(address) {
            return;
        }
        if let Some(old) = machine.address.replace(address) {
            self.addresses.remove(&old);
        }
        if let Some(other) = self.addresses.insert(address, mac)
            && let Some(other) = self.all.get_mut(&other)
        {
            other.address = None;
        }
    }

    /// Keeps what the machine reports about itself.
    pub fn describe(&mut self, mac: Mac, query: &Query) {
        let Some(machine) = self.all.get_mut(&mac) else { return };
        machine.uuid = query.uuid.or(machine.uuid);
        machine.serial = query.serial.clone().or(machine.serial.take());
        machine.host_name = query.host_name.clone().or(machine.host_name.take());
    }

    /// Records a step at `now`, Unix time in seconds. Returns the event if it is new for this boot.
    pub fn record(&mut self, mac: Mac, step: &Step<'_>, now: u64) -> Option<Event> {
        let Step { stage, detail, is_first, from } = *step;
        if !self.all.contains_key(&mac) {
            self.make_room();
        }
        let machine = self.all.entry(mac).or_insert_with(|| Machine {
            mac,
            uuid: None,
            serial: None,
            host_name: None,
            address: None,
            boots: 0,
            stages: Vec::new(),
        });
        if machine.is_new_boot(stage, is_first, now) {
            machine.boots += 1;
            machine.stages.clear();
        }
        let detail: String = detail.chars().take(DETAIL_BYTES).collect();
        let is_known = machine.stages.iter().any(|entry| entry.stage == stage && entry.detail == detail);
        if is_known || machine.stages.len() >= STAGES {
            return None;
        }
        let entry = Entry { stage, detail, time: now };
        machine.stages.push(entry.clone());
        if let Some(from) = from {
            self.set_address(mac, from);
        }
        let address = self.all.get(&mac).and_then(|machine| machine.address);
        Some(Event { mac, address, entry })
    }

    fn make_room(&mut self) {
        if self.all.len() < MACHINES {
            return;
        }
        let silent = self.all.values().min_by_key(|machine| machine.last_time()).map(|machine| machine.mac);
        if let Some(machine) = silent.and_then(|mac| self.all.remove(&mac))
            && let Some(address) = machine.address
        {
            self.addresses.remove(&address);
        }
    }
}

impl Machine {
    fn last_time(&self) -> u64 {
        self.stages.last().map_or(0, |entry| entry.time)
    }

    fn is_new_boot(&self, stage: Stage, is_first: bool, now: u64) -> bool {
        let Some(last) = self.stages.last() else { return true };
        let furthest = self.stages.iter().map(|entry| entry.stage).max().unwrap_or(last.stage);
        match stage {
            // iPXE asks DHCP once more than the firmware that loaded it.
            Stage::Offer if is_first => furthest > Stage::Offer || now > last.time + OFFER_AGE,
            Stage::Offer => furthest > Stage::Loader,
            // Another server may have made the offers.
            Stage::Script => furthest > Stage::Script,
            Stage::Loader => furthest > Stage::Loader,
            // A machine that boots from its disk reports no progress.
            Stage::Disk => last.stage != Stage::Disk && furthest > Stage::Script,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u16) -> Mac {
        let [high, low] = number.to_be_bytes();
        Mac([0x52, 0x54, 0, 0, high, low])
    }

    fn step(stage: Stage, detail: &str, is_first: bool) -> Step<'_> {
        Step { stage, detail, is_first, from: None }
    }

    fn stages(machines: &Machines, mac: Mac) -> Vec<&'static str> {
        machines.all[&mac].stages.iter().map(|entry| entry.stage.name()).collect()
    }

    #[test]
    fn each_step_of_a_boot_is_reported_once() {
        let mut machines = Machines::default();
        let steps = [
            (Stage::Offer, "undionly.kpxe", true, true),
            (Stage::Offer, "undionly.kpxe", true, false),
            (Stage::Loader, "undionly.kpxe", false, true),
            (Stage::Offer, "boot.ipxe", false, true),
            (Stage::Offer, "boot.ipxe", false, false),
            (Stage::Script, "live", false, true),
            (Stage::Kernel, "k", false, true),
            (Stage::Initrd, "i", false, true),
            (Stage::Config, "a.yaml", false, true),
            (Stage::Config, "a.yaml", false, false),
            (Stage::Ready, "", false, true),
        ];
        for round in 1..=2 {
            for (time, (stage, detail, is_first, expect)) in steps.iter().enumerate() {
                let event = machines.record(mac(1), &step(*stage, detail, *is_first), time as u64);
                assert_eq!(event.is_some(), *expect, "{stage:?} {detail}");
            }
            assert_eq!(machines.all[&mac(1)].boots, round);
        }
        let expect = ["offer", "loader", "offer", "script", "kernel", "initrd", "config", "ready"];
        assert_eq!(stages(&machines, mac(1)), expect);
        assert!(machines.has(mac(1), Stage::Ready) && !machines.has(mac(1), Stage::Installed));
    }

    #[test]
    fn a_boot_begins_with_an_offer_to_firmware_a_script_or_a_boot_from_disk() {
        let check = |before: &[Stage], stage: Stage, is_first: bool, time: u64, boots: u32| {
            let mut machines = Machines::default();
            for one in before {
                machines.record(mac(1), &step(*one, "", false), 0);
            }
            machines.record(mac(1), &step(stage, "", is_first), time);
            assert_eq!(machines.all[&mac(1)].boots, boots, "{before:?} {stage:?}");
        };
        use Stage::{Disk, Installed, Kernel, Loader, Offer, Script};
        check(&[Offer], Offer, true, 1, 1);
        check(&[Offer], Offer, true, OFFER_AGE + 1, 2);
        check(&[Offer, Loader], Offer, true, 1, 2);
        check(&[Offer, Loader], Offer, false, 1, 1);
        check(&[Offer, Script], Offer, false, 1, 2);
        check(&[Script], Script, false, 1, 1);
        check(&[Script, Kernel], Script, false, 1, 2);
        check(&[Script, Kernel, Installed], Disk, false, 1, 2);
        check(&[Disk], Disk, false, 1, 1);
        check(&[Disk], Offer, true, 1, 2);
    }

    #[test]
    fn an_address_belongs_to_one_machine() {
        let mut machines = Machines::default();
        for number in [1, 2] {
            machines.record(mac(number), &step(Stage::Offer, "", true), 0);
        }
        let [a, b]: [IpAddr; 2] = ["10.9.0.2".parse().unwrap(), "10.9.0.3".parse().unwrap()];
        machines.set_address(mac(3), a);
        assert_eq!(machines.at(a), None, "an unknown machine");
        machines.set_address(mac(1), a);
        machines.set_address(mac(2), a);
        assert_eq!((machines.at(a), machines.all[&mac(1)].address), (Some(mac(2)), None));
        machines.set_address(mac(2), b);
        assert_eq!((machines.at(a), machines.at(b)), (None, Some(mac(2))));
        let from = Some(a);
        let event = machines.record(mac(2), &Step { from, ..step(Stage::Script, "", false) }, 1).unwrap();
        assert_eq!((event.address, machines.at(a), machines.at(b)), (from, Some(mac(2)), None));
    }

    #[test]
    fn memory_is_bounded() {
        let mut machines = Machines::default();
        for number in 0..=u16::try_from(MACHINES).unwrap() {
            machines.record(mac(number), &step(Stage::Offer, "", true), number.into());
            machines.set_address(mac(number), IpAddr::from([10, 9, (number >> 8) as u8, number as u8]));
        }
        assert_eq!(machines.all.len(), MACHINES);
        assert_eq!(machines.addresses.len(), MACHINES);
        assert!(!machines.all.contains_key(&mac(0)), "the one that was silent for longest");
        for number in 0..100 {
            let detail = format!("{number}{}", "a".repeat(1000));
            machines.record(mac(1), &step(Stage::Config, &detail, false), 2);
        }
        let machine = &machines.all[&mac(1)];
        assert_eq!(machine.stages.len(), STAGES);
        assert!(machine.stages.iter().all(|entry| entry.detail.len() <= DETAIL_BYTES));
    }
}
