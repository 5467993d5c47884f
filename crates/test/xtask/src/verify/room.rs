//! Records the minimum of free disk space during a run, and the step: a full disk fails unrelated tests.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use serde::Serialize;

const EVERY: Duration = Duration::from_secs(1);
const MIB: u64 = 1 << 20;

/// Polls until it is dropped.
pub struct Room(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    step: &'static str,
    least: Option<Least>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Least {
    pub mib: u64,
    pub step: &'static str,
}

impl Room {
    /// Watches the disk of `folder`.
    pub fn watch(folder: &Path) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (weak, folder) = (Arc::downgrade(&seen), folder.to_path_buf());
        thread::spawn(move || look(&weak, &folder));
        Self(seen)
    }

    pub fn begins(&self, step: &'static str) {
        lock(&self.0).step = step;
    }

    pub fn least(&self) -> Option<Least> {
        lock(&self.0).least
    }
}

fn look(seen: &Weak<Mutex<Seen>>, folder: &PathBuf) {
    while let Some(seen) = seen.upgrade() {
        if let Ok(disk) = statvfs(folder) {
            lock(&seen).takes(disk.blocks_available() * disk.fragment_size() / MIB);
        }
        drop(seen);
        thread::sleep(EVERY);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // invariant: nothing under this lock panics.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn takes(&mut self, mib: u64) {
        if self.least.is_none_or(|least| mib < least.mib) {
            self.least = Some(Least { mib, step: self.step });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_room_is_kept_with_its_step() {
        let mut seen = Seen { step: "tidy", least: None };
        seen.takes(9_000);
        seen.step = "image";
        for mib in [7_000, 100, 8_000] {
            seen.takes(mib);
        }
        seen.step = "docs";
        seen.takes(100);
        assert_eq!(seen.least, Some(Least { mib: 100, step: "image" }));
    }

    #[test]
    fn the_disk_of_a_folder_is_looked_at() {
        let room = Room::watch(Path::new("/"));
        while room.least().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
