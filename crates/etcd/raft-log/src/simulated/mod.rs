//! An in-memory disk for tests of this and other crates. It records all operations and can produce any state that a
//! crash may leave. It guarantees nothing that `disk.rs` does not.

mod crash;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, DiskLock};
use crate::limits::SECTOR_BYTES;

pub use crash::Fate;
use crash::{DiskContents, Step, crashed};

/// A directory; clones share it.
#[derive(Clone, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<DiskState>>,
}

/// An open file of a [`SimulatedDisk`].
struct SimulatedFile {
    state: Arc<Mutex<DiskState>>,
    file: usize,
}

/// Held until it is dropped.
struct SimulatedLock {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Default)]
struct DiskState {
    /// The durable contents at the start.
    start: DiskContents,
    /// The contents as its users see them.
    now: DiskContents,
    steps: Vec<Step>,
    locked: bool,
    space: Option<u64>,
    full_writes: bool,
    syncs_to_failure: Option<u64>,
    lying_syncs: bool,
}

fn lock(state: &Mutex<DiskState>) -> MutexGuard<'_, DiskState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedDisk {
    /// An empty disk that never fails.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(content: DiskContents) -> Self {
        let state = DiskState { start: content.clone(), now: content, ..DiskState::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The number of recorded operations, at any of which [`SimulatedDisk::crash`] can cut.
    pub fn steps(&self) -> usize {
        lock(&self.state).steps.len()
    }

    /// The disk after a crash that follows `steps` operations.
    pub fn crash(&self, steps: usize, fate: Fate) -> Self {
        let state = lock(&self.state);
        let steps = &state.steps[..steps.min(state.steps.len())];
        Self::with(crashed(&state.start, steps, fate))
    }

    /// Limits the space for new files to this many bytes; removing a file frees its size. `None`: no limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        lock(&self.state).space = bytes;
    }

    /// Whether writes within files fail half done for lack of space, as on a copy-on-write file system.
    pub fn set_full_writes(&self, full: bool) {
        lock(&self.state).full_writes = full;
    }

    /// Fails the sync after this many successful ones; 0 fails the next one. The failed sync has no effect.
    pub fn fail_sync_after(&self, syncs: u64) {
        lock(&self.state).syncs_to_failure = Some(syncs);
    }

    /// Lets `sync_data` report success without an effect, to test the tests.
    pub fn set_lying_syncs(&self, lying: bool) {
        lock(&self.state).lying_syncs = lying;
    }

    /// The names in the directory, as processes see them: not necessarily durable.
    pub fn names(&self) -> Vec<String> {
        lock(&self.state).now.names.keys().cloned().collect()
    }

    /// The content as processes see it; `None` if there is no such file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        state.now.names.get(name).map(|file| state.now.files[*file].clone())
    }

    /// A copy of the disk with this file's contents replaced, everything synced.
    pub fn with_content(&self, name: &str, bytes: Vec<u8>) -> Self {
        let mut content = lock(&self.state).now.clone();
        content.files.push(bytes);
        content.names.insert(name.to_owned(), content.files.len() - 1);
        Self::with(content)
    }

    /// Damages an open file. `bytes` has its length.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        let mut state = lock(&self.state);
        if let Some(file) = state.now.names.get(name).copied() {
            state.now.files[file].copy_from_slice(bytes);
        }
    }

    /// A copy of the disk without this file.
    pub fn without(&self, name: &str) -> Self {
        let mut content = lock(&self.state).now.clone();
        content.names.remove(name);
        Self::with(content)
    }
}

impl DiskState {
    fn record(&mut self, step: Step) {
        self.now.apply_name(&step);
        self.steps.push(step);
    }

    fn sync(&mut self) -> io::Result<()> {
        match &mut self.syncs_to_failure {
            Some(0) => {
                self.syncs_to_failure = None;
                Err(io::Error::from_raw_os_error(5))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for SimulatedDisk {
    fn lock(&self) -> io::Result<DiskLock> {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.locked, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedLock { state: Arc::clone(&self.state) }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = lock(&self.state);
        if state.now.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let fits = state.space.is_none_or(|space| space >= size);
        // Like fallocate: the name stays, without the space.
        let taken = if fits { size } else { 0 };
        state.space = state.space.map(|space| space - taken);
        let file = state.now.files.len();
        state.now.files.push(vec![0; usize::try_from(taken).map_err(io::Error::other)?]);
        state.record(Step::Create { name: name.to_owned(), file, size: taken });
        if !fits {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(Box::new(SimulatedFile { state: Arc::clone(&self.state), file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = lock(&self.state).now.names.get(name).copied().ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(SimulatedFile { state: Arc::clone(&self.state), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.now.names.contains_key(from) {
            return Err(ErrorKind::NotFound.into());
        }
        state.record(Step::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let file = state.now.names.get(name).copied().ok_or(ErrorKind::NotFound)?;
        let freed = state.now.files[file].len() as u64;
        state.space = state.space.map(|space| space + freed);
        state.record(Step::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.sync()?;
        state.record(Step::SyncFolder);
        Ok(())
    }

    fn display_path(&self) -> String {
        "simulated disk".into()
    }
}

impl DiskFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.state).now.files[self.file].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = lock(&self.state);
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = state.now.files[self.file].get(from..from.saturating_add(buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let half = bytes.len() / 2 / SECTOR_BYTES * SECTOR_BYTES;
        let bytes = if state.full_writes { &bytes[..half] } else { bytes };
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let target = state.now.files[self.file].get_mut(from..from + bytes.len());
        target.ok_or(ErrorKind::StorageFull)?.copy_from_slice(bytes);
        if !bytes.is_empty() {
            state.record(Step::Write { file: self.file, offset, bytes: bytes.to_vec() });
        }
        if state.full_writes { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.sync()?;
        if !state.lying_syncs {
            state.record(Step::Sync { file: self.file });
        }
        Ok(())
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        lock(&self.state).locked = false;
    }
}
