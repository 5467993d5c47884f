//! `/run/update-engine/coordinator.conf`: held for as long as we live, so that no second one decides about reboots.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use locksmith_core::{Coordinator, CoordinatorState, Strategy};
use nix::fcntl::{Flock, FlockArg};

/// `/run/update-engine/coordinator.conf`, where systemd does not name another folder of the update agent.
pub fn file() -> PathBuf {
    let given = std::env::var("RUNTIME_DIRECTORY").unwrap_or_default();
    let folder = given.split(':').next().filter(|path| !path.is_empty()).unwrap_or("/run/update-engine");
    Path::new(folder).join("coordinator.conf")
}

pub struct Held {
    file: Flock<File>,
    strategy: Strategy,
}

impl Held {
    /// Fails where somebody else holds it.
    pub fn take(path: &Path, strategy: Strategy) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Nobody ever removes it, and it is emptied only by who holds it.
        let file = File::options().create(true).write(true).truncate(false).open(path)?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| io::Error::from(error))?;
        let mut held = Self { file, strategy };
        held.say(CoordinatorState::Starting)?;
        Ok(held)
    }

    pub fn say(&mut self, state: CoordinatorState) -> io::Result<()> {
        let content = Coordinator { strategy: self.strategy, state }.to_string();
        self.file.seek(SeekFrom::Start(0))?;
        // In place: the lock is on this very file.
        self.file.write_all(content.as_bytes())?;
        self.file.set_len(content.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_its_words_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update-engine/coordinator.conf");
        let mut held = Held::take(&path, Strategy::BestEffort).unwrap();
        let read = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=starting");
        held.say(CoordinatorState::RebootPlanned).unwrap();
        held.say(CoordinatorState::Running).unwrap();
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=running");
        assert!(Held::take(&path, Strategy::Reboot).is_err());
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=running");
        drop(held);
        Held::take(&path, Strategy::Reboot).unwrap();
        assert_eq!(read(), "NAME=locksmithd\nSTRATEGY=reboot\nSTATE=starting");
    }
}
