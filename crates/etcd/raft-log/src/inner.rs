//! What the handles of one log hold together. It must never do anything with it by itself.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::error::Failed;
use crate::state::State;

pub(crate) struct Inner<D: Disk> {
    pub disk: D,
    /// Held until the last handle is gone; `None` where another process has it, and this one only looks.
    pub _lock: Option<D::Lock>,
    pub state: Mutex<State<D::File>>,
    /// The number of the next reserve; held while files of the folder are made or removed outside of a flush.
    pub reserve_number: Mutex<u64>,
}

impl<D: Disk> Inner<D> {
    /// A thread that panicked while it held the lock left the state as a failed log's would be.
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
