//! The state shared by the handles of a log.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskLock};
use crate::error::Failed;
use crate::state::State;

pub(crate) struct Inner {
    pub disk: Arc<dyn Disk>,
    /// Held until the last handle is dropped; `None` for a read-only log that another process has open.
    pub _lock: Option<DiskLock>,
    pub state: Mutex<State>,
    /// The number of the next reserve. Locked while files are created or removed outside of a flush.
    pub reserve_number: Mutex<u64>,
}

impl Inner {
    /// After a panic of another thread the log counts as failed.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
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
