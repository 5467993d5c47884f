//! Disks for simulations: work on them takes virtual time, and is done in one go at its end. A crash before leaves it undone.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use raft_log::simulated::SimulatedDisk;
use tokio::time::Sleep;

use crate::hands::{Background, Hands, Join, Keeping, Pause, Work};

/// How long the next work on the disk takes.
pub type Pace = Arc<dyn Fn() -> Duration + Send + Sync>;

pub struct SimulatedHands {
    pub disk: SimulatedDisk,
    pub pace: Pace,
}

impl Background for SimulatedHands {
    fn run(&self, work: Work) {
        let pause = (self.pace)();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            work();
        });
    }

    fn keep(&self, _: &str, work: Keeping) -> io::Result<Join> {
        tokio::spawn(Slowly { work, pace: Arc::clone(&self.pace), pause: None });
        Ok(Box::new(|| {}))
    }

    fn pause(&self, duration: Duration) -> Pause {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Hands for SimulatedHands {
    type Disk = SimulatedDisk;

    fn log_disk(&self, _: &Path) -> io::Result<SimulatedDisk> {
        Ok(self.disk.clone())
    }
}

/// Goes on some time after it was woken: what came meanwhile is done in the same go.
struct Slowly {
    work: Keeping,
    pace: Pace,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for Slowly {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep((this.pace)())));
        ready!(pause.as_mut().poll(context));
        this.pause = None;
        this.work.as_mut().poll(context)
    }
}
