//! Access to the slots of this machine, under a lock.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use disk_slots::carry_out::{CarryOutError, carry_out};
use disk_slots::look::{look, partitions};
use disk_slots::{Devices, DiskFile, EspFolder, find_devices, gpt};
use nix::fcntl::{Flock, FlockArg};
use update_core::slots::{Machine, Step};

use crate::error::{Failure, Kind, code};
use crate::fill::{Old, Slot, Targets};
use crate::lock::lock;
use crate::places::Places;

/// The slots, locked until dropped.
pub struct Slots {
    devices: Devices,
    disk: DiskFile,
    esp: EspFolder,
    boot: PathBuf,
    pub machine: Machine,
    _lock: Flock<File>,
}

impl Slots {
    /// Reads the state without the lock.
    pub fn look(places: &Places, id: &str) -> Result<Machine, Failure> {
        let devices = find_devices(places.root()).map_err(|error| device_failed(&error))?;
        let disk = DiskFile::read_only(&devices.disk).map_err(|error| not_opened(&devices, &error))?;
        let esp = EspFolder::new(&places.boot());
        look(&disk, &esp, id, devices.running).map_err(|error| device_failed(&error))
    }

    /// Locks the slots, without waiting, and reads their state.
    pub fn open(places: &Places, id: &str) -> Result<Self, Failure> {
        let lock = lock(&places.lock(), FlockArg::LockExclusiveNonblock).map_err(|error| {
            let message = format!("another program changes the slots: {error}");
            Failure::text(Kind::Passing, code::STATE, message)
        })?;
        let devices = find_devices(places.root()).map_err(|error| device_failed(&error))?;
        let disk = DiskFile::open(&devices.disk).map_err(|error| not_opened(&devices, &error))?;
        let esp = EspFolder::new(&places.boot());
        let machine = look(&disk, &esp, id, devices.running).map_err(|error| device_failed(&error))?;
        Ok(Self { devices, disk, esp, boot: places.boot(), machine, _lock: lock })
    }

    /// Executes steps that do not include [`Step::Fill`].
    pub fn change(&mut self, steps: &[Step]) -> Result<(), Failure> {
        self.carry_out(steps, |_| Ok(()))
    }

    /// Executes the steps. `fill` writes the images.
    pub fn carry_out(
        &mut self,
        steps: &[Step],
        mut filled: impl FnMut(&Targets<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { devices, disk, esp, boot, machine, .. } = self;
        let table = gpt::read(disk).map_err(|error| device_failed(&error))?;
        let open = |slot: char| -> Result<[Slot; 2], Failure> {
            let found = partitions(&table, slot).map_err(|error| device_failed(&error))?;
            let [usr, verity] =
                found.map(|part| Slot::open(&devices.partition(part.number), &devices.disk, part));
            Ok([usr.map_err(|error| device_failed(&error))?, verity.map_err(|error| device_failed(&error))?])
        };
        let (running, _) = machine.split().map_err(refused)?;
        let old_uki =
            machine.running_entry().map(|entry| esp.path(&entry.name.to_string())).map_err(refused)?;
        let (running, temporary) = (running.name, EspFolder::new(boot));
        let outcome = carry_out(steps, disk, esp, |slot, file| {
            let ([usr, verity], [old_usr, _]) = (open(slot)?, open(running)?);
            let uki = temporary.path(file);
            let old = Some(Old { usr: &old_usr, uki: &old_uki });
            filled(&Targets { usr: &usr, verity: &verity, uki: &uki, old })
        });
        outcome.map_err(|error| match error {
            CarryOutError::Fill(failure) => failure,
            CarryOutError::Table(_) => device_failed(&error),
            CarryOutError::Esp { .. } => Failure::new(Kind::Machine, code::KERNEL_DEVICE, &error),
        })
    }
}

fn device_failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Machine, code::INSTALL_DEVICE, error)
}

fn not_opened(devices: &Devices, error: &io::Error) -> Failure {
    let next = if error.kind() == io::ErrorKind::PermissionDenied { " (root may: sudo)" } else { "" };
    let message = format!("{} cannot be opened: {error}{next}", devices.disk.display());
    Failure::text(Kind::Machine, code::INSTALL_DEVICE, message)
}

/// The failure for a plan that is not possible.
pub fn refused(refusal: update_core::slots::Refusal) -> Failure {
    let kind = match refusal {
        update_core::slots::Refusal::NotProven(_) => Kind::Passing,
        _ => Kind::Machine,
    };
    Failure::new(kind, code::INSTALL_DEVICE, &refusal)
}
