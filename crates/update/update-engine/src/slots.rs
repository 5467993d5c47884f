//! Access to the slots of this machine, under a lock.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use disk_slots::execute::{ExecuteError, execute};
use disk_slots::inspect::{inspect, partitions};
use disk_slots::{Devices, DiskFile, EspFolder, find_devices, gpt};
use nix::fcntl::{Flock, FlockArg};
use update_core::slots::{BootState, Step};

use crate::error::{Failure, Kind, code};
use crate::fill::{OldImages, Slot, Targets};
use crate::lock::lock;
use crate::paths::Paths;

/// The slots, locked until dropped.
pub struct Slots {
    devices: Devices,
    disk: DiskFile,
    esp: EspFolder,
    boot: PathBuf,
    pub boot_state: BootState,
    _lock: Flock<File>,
}

impl Slots {
    /// Reads the state without the lock.
    pub fn inspect(paths: &Paths, id: &str) -> Result<BootState, Failure> {
        let devices = find_devices(paths.root()).map_err(|error| device_failed(&error))?;
        let disk = DiskFile::read_only(&devices.disk).map_err(|error| not_opened(&devices, &error))?;
        let esp = EspFolder::new(&paths.boot());
        inspect(&disk, &esp, id, devices.running).map_err(|error| device_failed(&error))
    }

    /// Locks the slots, without waiting, and reads their state.
    pub fn open(paths: &Paths, id: &str) -> Result<Self, Failure> {
        let lock = lock(&paths.lock(), FlockArg::LockExclusiveNonblock).map_err(|error| {
            let message = format!("another program is modifying the slots: {error}");
            Failure::text(Kind::Transient, code::STATE, message)
        })?;
        let devices = find_devices(paths.root()).map_err(|error| device_failed(&error))?;
        let disk = DiskFile::open(&devices.disk).map_err(|error| not_opened(&devices, &error))?;
        let esp = EspFolder::new(&paths.boot());
        let boot_state = inspect(&disk, &esp, id, devices.running).map_err(|error| device_failed(&error))?;
        Ok(Self { devices, disk, esp, boot: paths.boot(), boot_state, _lock: lock })
    }

    /// Executes steps that do not include [`Step::Fill`].
    pub fn change(&mut self, steps: &[Step]) -> Result<(), Failure> {
        self.execute(steps, |_| Ok(()))
    }

    /// Executes the steps. `fill` writes the images.
    pub fn execute(
        &mut self,
        steps: &[Step],
        mut fill: impl FnMut(&Targets<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { devices, disk, esp, boot, boot_state, .. } = self;
        let table = gpt::read(disk).map_err(|error| device_failed(&error))?;
        let open = |slot: char| -> Result<[Slot; 2], Failure> {
            let found = partitions(&table, slot).map_err(|error| device_failed(&error))?;
            let [usr, verity] =
                found.map(|part| Slot::open(&devices.partition(part.number), &devices.disk, part));
            Ok([usr.map_err(|error| device_failed(&error))?, verity.map_err(|error| device_failed(&error))?])
        };
        let (running, _) = boot_state.running_and_other().map_err(plan_failed)?;
        let old_uki =
            boot_state.running_entry().map(|entry| esp.path(&entry.name.to_string())).map_err(plan_failed)?;
        let (running, temporary) = (running.name, EspFolder::new(boot));
        let outcome = execute(steps, disk, esp, |slot, file| {
            let ([usr, verity], [old_usr, _]) = (open(slot)?, open(running)?);
            let uki = temporary.path(file);
            let old = Some(OldImages { usr: &old_usr, uki: &old_uki });
            fill(&Targets { usr: &usr, verity: &verity, uki: &uki, old })
        });
        outcome.map_err(|error| match error {
            ExecuteError::Fill(failure) => failure,
            ExecuteError::Table(_) => device_failed(&error),
            ExecuteError::Esp { .. } => Failure::new(Kind::Machine, code::KERNEL_DEVICE, &error),
        })
    }
}

fn device_failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(Kind::Machine, code::INSTALL_DEVICE, error)
}

fn not_opened(devices: &Devices, error: &io::Error) -> Failure {
    let next = if error.kind() == io::ErrorKind::PermissionDenied { " (use sudo)" } else { "" };
    let message = format!("cannot open {}: {error}{next}", devices.disk.display());
    Failure::text(Kind::Machine, code::INSTALL_DEVICE, message)
}

/// The failure for a plan that is not possible.
pub fn plan_failed(refusal: update_core::slots::PlanError) -> Failure {
    let kind = match refusal {
        update_core::slots::PlanError::RunningNotGood(_) => Kind::Transient,
        _ => Kind::Machine,
    };
    Failure::new(kind, code::INSTALL_DEVICE, &refusal)
}
