//! Executes a plan. Each step is durable before the next one starts.

use std::io;

use update_core::slots::Step;

use crate::disk::Disk;
use crate::esp::{Esp, SECTOR, head};
use crate::gpt;
use crate::inspect::{InspectError, partitions};

/// The first bytes of a PE file. A file is disarmed by clearing only these, so even a torn write of the sector leaves
/// it either complete or disarmed.
const PE_MAGIC: &[u8] = b"MZ";

/// Why a step failed. The machine boots nevertheless.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ExecuteError<F> {
    /// The `fill` callback failed.
    #[error(transparent)]
    Fill(F),
    #[error("cannot change the partition table")]
    Table(#[source] InspectError),
    #[error("cannot change {file} in the boot partition")]
    Esp { file: String, source: io::Error },
}

/// Executes `steps` in order. `fill` receives a slot and the name of a temporary file, and returns once both are
/// written and verified.
pub fn execute<F>(
    steps: &[Step],
    disk: &mut impl Disk,
    esp: &mut impl Esp,
    mut fill: impl FnMut(char, &str) -> Result<(), F>,
) -> Result<(), ExecuteError<F>> {
    for step in steps {
        let failed = |file: &str| {
            let file = file.to_owned();
            move |source| ExecuteError::Esp { file, source }
        };
        match step {
            Step::RemoveEntry { file } => remove(esp, file).map_err(failed(file))?,
            Step::Fill { slot, temporary } => fill(*slot, temporary).map_err(ExecuteError::Fill)?,
            Step::SetSlotUuids { slot, root_hash } => {
                set_slot_uuids(disk, *slot, gpt::uuids(*root_hash)).map_err(ExecuteError::Table)?;
            }
            Step::ActivateEntry { from, to } => activate(esp, from, to).map_err(failed(from))?,
            Step::SetTries { from, to } => esp.rename(from, to).map_err(failed(from))?,
        }
    }
    Ok(())
}

fn remove(esp: &mut impl Esp, file: &str) -> io::Result<()> {
    if esp.size(file)?.is_some_and(|bytes| bytes >= SECTOR as u64) {
        set_head_bytes(esp, file, &[0; PE_MAGIC.len()])?;
    }
    esp.remove(file)
}

fn activate(esp: &mut impl Esp, from: &str, to: &str) -> io::Result<()> {
    set_head_bytes(esp, from, &[0; PE_MAGIC.len()])?;
    esp.rename(from, to)?;
    set_head_bytes(esp, to, PE_MAGIC)
}

fn set_head_bytes(esp: &mut impl Esp, file: &str, beginning: &[u8]) -> io::Result<()> {
    let mut head = head(esp, file)?;
    for (byte, new) in head.iter_mut().zip(beginning) {
        *byte = *new;
    }
    esp.set_head(file, &head)
}

fn set_slot_uuids(disk: &mut impl Disk, slot: char, uuids: [gpt::Uuid; 2]) -> Result<(), InspectError> {
    let table = gpt::read(disk)?;
    let numbers = partitions(&table, slot)?.map(|part| part.number);
    let changes: Vec<_> = numbers.into_iter().zip(uuids).collect();
    Ok(gpt::set_uuids(disk, &table, &changes)?)
}
