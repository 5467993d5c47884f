//! Where a member's work on disks is done, and on which disk its log lies: threads and a folder, or
//! what a simulation has in their place. It must never know what the work is.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use raft_log::RealDisk;
use raft_log::disk::Disk;
use tokio::sync::oneshot;

/// Work that is done once and may block.
pub type BlockingWork = Box<dyn FnOnce() + Send>;
/// Work that waits for more of it, and blocks when there is some.
pub type LongRunningWork = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Returns when the work is over.
pub type JoinHandle = Box<dyn FnOnce() + Send>;
pub type SleepFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who does what a member's tasks must not wait for. Called within the member's runtime.
pub trait Executor: Send + Sync + 'static {
    /// Does `work`, elsewhere; without anybody who waits for it too.
    fn spawn_blocking(&self, work: BlockingWork);

    /// Keeps `work` going until it is over. What it keeps by itself is kept as well.
    fn spawn_thread(&self, name: &str, work: LongRunningWork) -> io::Result<JoinHandle>;

    /// Within work that is kept: waits.
    fn sleep(&self, duration: Duration) -> SleepFuture;
}

/// All of it.
pub trait Environment: Executor {
    type Disk: Disk;

    /// The folder that the log lives in.
    fn log_disk(&self, folder: &Path) -> io::Result<Self::Disk>;
}

/// The machine's own: the runtime's blocking threads, a thread for what is kept, real folders.
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
    type Disk = RealDisk;

    fn log_disk(&self, folder: &Path) -> io::Result<RealDisk> {
        RealDisk::at(folder)
    }
}

/// Does what blocks on the disk where it may, and returns what came of it.
pub async fn run_blocking<R, F>(executor: &dyn Executor, work: F) -> io::Result<R>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    let (result, done) = oneshot::channel();
    executor.spawn_blocking(Box::new(move || {
        // Who asked may have stopped waiting.
        result.send(work()).ok();
    }));
    done.await.map_err(|_| io::Error::other("work on the disk was not done"))
}
