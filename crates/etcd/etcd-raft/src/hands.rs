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
pub type Work = Box<dyn FnOnce() + Send>;
/// Work that waits for more of it, and blocks when there is some.
pub type Keeping = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Returns when the work is over.
pub type Join = Box<dyn FnOnce() + Send>;
pub type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who does what a member's tasks must not wait for. Called within the member's runtime.
pub trait Background: Send + Sync + 'static {
    /// Does `work`, elsewhere; without anybody who waits for it too.
    fn run(&self, work: Work);

    /// Keeps `work` going until it is over. What it keeps by itself is kept as well.
    fn keep(&self, name: &str, work: Keeping) -> io::Result<Join>;

    /// Within work that is kept: waits.
    fn pause(&self, duration: Duration) -> Pause;
}

/// All of it.
pub trait Hands: Background {
    type Disk: Disk;

    /// The folder that the log lives in.
    fn log_disk(&self, folder: &Path) -> io::Result<Self::Disk>;
}

/// The machine's own: the runtime's blocking threads, a thread for what is kept, real folders.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealHands;

impl Background for RealHands {
    fn run(&self, work: Work) {
        tokio::task::spawn_blocking(work);
    }

    fn keep(&self, name: &str, work: Keeping) -> io::Result<Join> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(move || futures_executor::block_on(work))?;
        let name = name.to_owned();
        Ok(Box::new(move || {
            if thread.join().is_err() {
                tracing::error!(name, "a thread of the member had panicked");
            }
        }))
    }

    fn pause(&self, duration: Duration) -> Pause {
        Box::pin(async move { std::thread::sleep(duration) })
    }
}

impl Hands for RealHands {
    type Disk = RealDisk;

    fn log_disk(&self, folder: &Path) -> io::Result<RealDisk> {
        RealDisk::at(folder)
    }
}

/// Does what blocks on the disk where it may, and returns what came of it.
pub async fn blocking<R, F>(hands: &dyn Background, work: F) -> io::Result<R>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    let (answer, done) = oneshot::channel();
    hands.run(Box::new(move || {
        // Who asked may have stopped waiting.
        answer.send(work()).ok();
    }));
    done.await.map_err(|_| io::Error::other("work on the disk was not done"))
}
