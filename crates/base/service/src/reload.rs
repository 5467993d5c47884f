//! A value read from files, such as a TLS configuration, that is reloaded when the files change.

use std::error::Error;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Files are checked for changes at most this often.
pub const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The value of the files as they are now. If changed files cannot be read, such as half written ones, the previous value
/// remains until they change again.
pub struct Reloading<T, E> {
    /// The first one is shown in messages.
    paths: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
    loaded: Mutex<Loaded<T>>,
}

struct Loaded<T> {
    value: Arc<T>,
    stamps: FileStamps,
    checked_at: Instant,
}

impl<T, E: Error + 'static> Reloading<T, E> {
    /// Reads the value. `read` must read `paths` and nothing else.
    pub fn new(
        paths: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let loaded = Mutex::new(load(&paths, &read)?);
        Ok(Self { paths, read: Box::new(read), loaded })
    }

    /// Reloads the files immediately, as for SIGHUP.
    pub fn reload(&self) -> Result<(), E> {
        let fresh = load(&self.paths, &self.read)?;
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The current value; reloads it if the files changed since the last check.
    pub fn current(&self) -> Arc<T> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.checked_at.elapsed() < CHECK_INTERVAL {
            return Arc::clone(&loaded.value);
        }
        loaded.checked_at = Instant::now();
        let stamps = FileStamps::of(&self.paths);
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            let file = self.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
            match (self.read)() {
                Ok(value) => {
                    loaded.value = Arc::new(value);
                    tracing::info!(file, "reloaded changed files");
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn Error,
                    "changed files are invalid, keeping the previous content"
                ),
            }
        }
        Arc::clone(&loaded.value)
    }
}

fn load<T, E>(paths: &[PathBuf], read: &dyn Fn() -> Result<T, E>) -> Result<Loaded<T>, E> {
    // Metadata is read first, so that a change in between is detected at the next check.
    let stamps = FileStamps::of(paths);
    Ok(Loaded { value: Arc::new(read()?), stamps, checked_at: Instant::now() })
}

impl<T, E> fmt::Debug for Reloading<T, E> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Reloading").field("paths", &self.paths).finish_non_exhaustive()
    }
}

/// Inode, modification time and length of files: equal as long as they are not replaced or written to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamps(Vec<Option<(u64, i64, i64, u64)>>);

impl FileStamps {
    fn of(paths: &[PathBuf]) -> FileStamps {
        let stamp = |path: &PathBuf| {
            fs::metadata(path).ok().map(|data| (data.ino(), data.mtime(), data.mtime_nsec(), data.len()))
        };
        FileStamps(paths.iter().map(stamp).collect())
    }
}
