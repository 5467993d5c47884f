//! `/run/update-engine/coordinator.conf`: locked while the daemon runs, so that only one coordinates reboots.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use locksmith_core::{Coordinator, CoordinatorState, Strategy};
use nix::fcntl::{Flock, FlockArg};

/// The path, in systemd's `RUNTIME_DIRECTORY` if that is set.
pub fn path() -> PathBuf {
    let folders = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
    let folder = folders.split(':').next().filter(|path| !path.is_empty()).unwrap_or("/run/update-engine");
    Path::new(folder).join("coordinator.conf")
}

pub struct CoordinatorFile {
    file: Flock<File>,
    strategy: Strategy,
}

impl CoordinatorFile {
    /// Fails if another process holds the lock.
    pub fn acquire(path: &Path, strategy: Strategy) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // The file is never removed, and truncated only under the lock.
        let file = File::options().create(true).write(true).truncate(false).open(path)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| io::Error::from(error))?;
        let mut coordinator = Self { file, strategy };
        coordinator.write_state(CoordinatorState::Starting)?;
        Ok(coordinator)
    }

    pub fn write_state(&mut self, state: CoordinatorState) -> io::Result<()> {
        let content = Coordinator { strategy: self.strategy, state }.to_string();
        self.file.seek(SeekFrom::Start(0))?;
        // In place, as the lock is on this inode.
        self.file.write_all(content.as_bytes())?;
        self.file.set_len(content.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_exclusive_and_rewritten_completely() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update-engine/coordinator.conf");
        let mut coordinator = CoordinatorFile::acquire(&path, Strategy::BestEffort).unwrap();
        let read = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=starting");
        coordinator.write_state(CoordinatorState::RebootPlanned).unwrap();
        coordinator.write_state(CoordinatorState::Running).unwrap();
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=running");
        assert!(CoordinatorFile::acquire(&path, Strategy::Reboot).is_err());
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=running");
        drop(coordinator);
        CoordinatorFile::acquire(&path, Strategy::Reboot).unwrap();
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=reboot\nSTATE=starting");
    }
}
