//! A simulated environment: disk operations take virtual time and take effect at its end. A crash before that leaves
//! no trace of them.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use raft_log::disk::Disk;
use raft_log::simulated::SimulatedDisk;
use tokio::time::Sleep;

use crate::environment::{BlockingWork, Environment, Executor, JoinHandle, LongRunningWork, SleepFuture};

/// The latency of the next disk operation.
pub type DiskLatency = Arc<dyn Fn() -> Duration + Send + Sync>;

pub struct SimulatedEnvironment {
    pub disk: SimulatedDisk,
    pub disk_latency: DiskLatency,
}

impl Executor for SimulatedEnvironment {
    fn spawn_blocking(&self, work: BlockingWork) {
        let pause = (self.disk_latency)();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            work();
        });
    }

    fn spawn_thread(&self, _: &str, work: LongRunningWork) -> io::Result<JoinHandle> {
        tokio::spawn(Delayed { work, disk_latency: Arc::clone(&self.disk_latency), pause: None });
        Ok(Box::new(|| {}))
    }

    fn sleep(&self, duration: Duration) -> SleepFuture {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Environment for SimulatedEnvironment {
    fn log_disk(&self, _: &Path) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(self.disk.clone()))
    }
}

/// Polls its task some time after it is woken, so that work which arrives meanwhile is batched.
struct Delayed {
    work: LongRunningWork,
    disk_latency: DiskLatency,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for Delayed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep((this.disk_latency)())));
        ready!(pause.as_mut().poll(context));
        this.pause = None;
        this.work.as_mut().poll(context)
    }
}
