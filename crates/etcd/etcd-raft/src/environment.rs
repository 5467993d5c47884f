//! The environment of a member: its threads and the disk of its log. The default is the operating system's;
//! simulations supply their own.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use raft_log::RealDisk;
use raft_log::disk::Disk;
use tokio::sync::oneshot;

/// A blocking operation that runs once.
pub type BlockingWork = Box<dyn FnOnce() + Send>;
/// A long-running task, which may block.
pub type LongRunningWork = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Blocks until the task has finished.
pub type JoinHandle = Box<dyn FnOnce() + Send>;
pub type SleepFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what must not block a member's async tasks. Called within the member's runtime.
pub trait Executor: Send + Sync + 'static {
    /// Runs `work` on a thread for blocking operations. It runs even if its result is no longer awaited.
    fn spawn_blocking(&self, work: BlockingWork);

    /// Runs `work` on a thread of its own until it completes.
    fn spawn_thread(&self, name: &str, work: LongRunningWork) -> io::Result<JoinHandle>;

    /// Sleeps within a [`LongRunningWork`].
    fn sleep(&self, duration: Duration) -> SleepFuture;
}

/// Threads and the log's disk.
pub trait Environment: Executor {
    /// Opens the directory of the log.
    fn log_disk(&self, folder: &Path) -> io::Result<Arc<dyn Disk>>;
}

/// Tokio's blocking pool, operating system threads and the local file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Executor for SystemEnvironment {
    fn spawn_blocking(&self, work: BlockingWork) {
        tokio::task::spawn_blocking(work);
    }

    fn spawn_thread(&self, name: &str, work: LongRunningWork) -> io::Result<JoinHandle> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || futures_executor::block_on(work))?;
        let name = name.to_owned();
        Ok(Box::new(move || {
            if thread.join().is_err() {
                tracing::error!(name, "a thread of the member had panicked");
            }
        }))
    }

    fn sleep(&self, duration: Duration) -> SleepFuture {
        Box::pin(async move { std::thread::sleep(duration) })
    }
}

impl Environment for SystemEnvironment {
    fn log_disk(&self, folder: &Path) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(RealDisk::at(folder)?))
    }
}

/// Runs a blocking operation and returns its result.
pub async fn run_blocking<R, F>(executor: &dyn Executor, work: F) -> io::Result<R>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    let (result, done) = oneshot::channel();
    executor.spawn_blocking(Box::new(move || {
        // The caller may have been cancelled.
        result.send(work()).ok();
    }));
    done.await.map_err(|_| io::Error::other("work on the disk was not done"))
}
