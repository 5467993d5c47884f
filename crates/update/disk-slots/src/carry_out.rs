//! The hands of a plan: each step done, and on the medium before the next begins.

use std::io;

use update_core::slots::Step;

use crate::disk::Disk;
use crate::esp::{Esp, SECTOR, head};
use crate::gpt;
use crate::look::{LookError, partitions};

/// How each PE file begins. One that begins otherwise is disarmed, and nothing else of it is changed: even of half a
/// sector's write either these bytes are there, and so is the rest, or they are not.
const ARMED: &[u8] = b"MZ";

#[derive(Debug, thiserror::Error)]
pub enum CarryOutError<F> {
    /// What came from outside, or its place on the disk, failed.
    #[error(transparent)]
    Fill(F),
    #[error("the partition table cannot be changed")]
    Table(#[source] LookError),
    #[error("{file} in the boot partition cannot be changed")]
    Esp { file: String, source: io::Error },
}

/// Does `steps` in their order. `fill` is given a slot and a temporary file's name, and returns when both hold what
/// they shall hold and were read again.
pub fn carry_out<F>(
    steps: &[Step],
    disk: &mut impl Disk,
    esp: &mut impl Esp,
    mut fill: impl FnMut(char, &str) -> Result<(), F>,
) -> Result<(), CarryOutError<F>> {
    for step in steps {
        let failed = |file: &str| {
            let file = file.to_owned();
            move |source| CarryOutError::Esp { file, source }
        };
        match step {
            Step::RemoveEntry { file } => remove(esp, file).map_err(failed(file))?,
            Step::Fill { slot, temporary } => fill(*slot, temporary).map_err(CarryOutError::Fill)?,
            Step::NameSlot { slot, root_hash } => {
                name_slot(disk, *slot, gpt::uuids(*root_hash)).map_err(CarryOutError::Table)?;
            }
            Step::PlaceEntry { from, to } => place(esp, from, to).map_err(failed(from))?,
            Step::CountEntry { from, to } => esp.rename(from, to).map_err(failed(from))?,
        }
    }
    Ok(())
}

fn remove(esp: &mut impl Esp, file: &str) -> io::Result<()> {
    if esp.size(file)?.is_some_and(|bytes| bytes >= SECTOR as u64) {
        begin_with(esp, file, &[0; ARMED.len()])?;
    }
    esp.remove(file)
}

fn place(esp: &mut impl Esp, from: &str, to: &str) -> io::Result<()> {
    begin_with(esp, from, &[0; ARMED.len()])?;
    esp.rename(from, to)?;
    begin_with(esp, to, ARMED)
}

fn begin_with(esp: &mut impl Esp, file: &str, beginning: &[u8]) -> io::Result<()> {
    let mut head = head(esp, file)?;
    for (byte, new) in head.iter_mut().zip(beginning) {
        *byte = *new;
    }
    esp.set_head(file, &head)
}

fn name_slot(disk: &mut impl Disk, slot: char, uuids: [gpt::Uuid; 2]) -> Result<(), LookError> {
    let table = gpt::read(disk)?;
    let numbers = partitions(&table, slot)?.map(|part| part.number);
    let changes: Vec<_> = numbers.into_iter().zip(uuids).collect();
    Ok(gpt::set_uuids(disk, &table, &changes)?)
}
