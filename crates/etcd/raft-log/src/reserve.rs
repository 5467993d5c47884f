//! Reserve segments, allocated ahead of time, and the removal of purged segments. A segment is removed only after its
//! purge is durable.

use std::io;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Failed, MaintainError, is_full};
use crate::inner::Inner;
use crate::segment::{reserve_name, segment_name, unfinished_name};
use crate::state::Reserve;

/// Allocates a reserve if there is none.
pub(crate) fn ensure(inner: &Inner) -> Result<(), MaintainError> {
    let mut number = inner.reserve_number.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let size = {
        let state = inner.state();
        if let Some(failed) = &state.failed {
            return Err(failed.clone().into());
        }
        if !state.reserves.is_empty() {
            return Ok(());
        }
        state.segment_bytes
    };
    let reserve = create(&*inner.disk, *number, size)?;
    *number += 1;
    inner.state().reserves.push(reserve);
    Ok(())
}

/// Takes a reserve; allocates it if there is none.
pub(crate) fn take(inner: &Inner) -> Result<Reserve, MaintainError> {
    loop {
        if let Some(reserve) = inner.state().reserves.pop() {
            return Ok(reserve);
        }
        ensure(inner)?;
    }
}

/// The file gets its name after its zeros are durable, so the name can be relied on.
fn create(disk: &dyn Disk, number: u64, size: u64) -> Result<Reserve, MaintainError> {
    let (unfinished, name) = (unfinished_name(number), reserve_name(number));
    let made = disk.create(&unfinished, size).and_then(|file| {
        file.sync_data()?;
        disk.rename(&unfinished, &name)?;
        disk.sync_folder()?;
        Ok(Reserve { name: name.clone(), file: file.into() })
    });
    made.map_err(|source| {
        // The first error is reported; leftovers are removed at the next open.
        for left in [&unfinished, &name] {
            disk.remove(left).ok();
        }
        if is_full(&source) { MaintainError::Full { source } } else { io_error("making", name, source) }
    })
}

fn io_error(doing: &'static str, name: String, source: io::Error) -> MaintainError {
    MaintainError::Io { doing, name, source }
}

pub(crate) fn remove_purged(inner: &Inner) -> Result<(), MaintainError> {
    let _one_at_a_time = inner.reserve_number.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    loop {
        let sequence = {
            let state = inner.state();
            if let Some(failed) = &state.failed {
                return Err(failed.clone().into());
            }
            match state.segments.keys().next() {
                Some(oldest) if *oldest < state.removable_below => *oldest,
                _ => return Ok(()),
            }
        };
        let name = segment_name(sequence);
        inner.disk.remove(&name).map_err(|source| io_error("removing", name.clone(), source))?;
        inner.state().segments.remove(&sequence);
        // Each removal is made durable before the next one: otherwise a crash could leave a gap.
        inner.disk.sync_folder().map_err(|source| {
            let failed = Failed { doing: "syncing the folder of", name, source: Arc::new(source) };
            inner.state().failed = Some(failed.clone());
            failed
        })?;
    }
}
