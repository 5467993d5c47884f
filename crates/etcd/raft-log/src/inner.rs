//! The state shared by the handles of a log.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::error::Failed;
use crate::state::State;

pub(crate) struct Inner<D: Disk> {
    pub disk: D,
    /// Held until the last handle is dropped; `None` for a read-only log that another process has open.
    pub _lock: Option<D::Lock>,
    pub state: Mutex<State<D::File>>,
    /// The number of the next reserve. Locked while files are created or removed outside of a flush.
    pub reserve_number: Mutex<u64>,
}

impl<D: Disk> Inner<D> {
    /// After a panic of another thread the log counts as failed.
    pub(crate) fn state(&self) -> MutexGuard<'_, State<D::File>> {
        self.state.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut state = poisoned.into_inner();
            if state.failed.is_none() {
                let source = Arc::new(io::Error::other("a thread panicked"));
                state.failed = Some(Failed { doing: "using", name: "the log's memory".into(), source });
            }
            state
        })
    }
}
