//! Disks and threads of a simulated machine: work on the disk takes virtual time, and is done in
//! one go at its end. A crash before leaves it undone.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use fastrand::Rng;
use member::hands::{Background, Hands, Join, Keeping, Pause, Work};
use parking_lot::Mutex;
use raft_log::simulated::SimulatedDisk;
use tokio::time::Sleep;

use super::chance::one_in;

/// How long the disk takes, in milliseconds.
pub struct Pace {
    chosen: Mutex<(Rng, Range)>,
}

#[derive(Debug, Clone, Copy)]
enum Range {
    /// Rarely twenty times as long.
    UpTo(u64),
    Always(u64),
}

impl Pace {
    pub fn new(random: Rng) -> Arc<Self> {
        Arc::new(Self { chosen: Mutex::new((random, Range::UpTo(2))) })
    }

    pub fn set(&self, most: u64) {
        self.chosen.lock().1 = Range::UpTo(most);
    }

    pub fn set_steady(&self, always: u64) {
        self.chosen.lock().1 = Range::Always(always);
    }

    fn draw(&self) -> Duration {
        let (random, range) = &mut *self.chosen.lock();
        Duration::from_millis(match range {
            Range::UpTo(most) => {
                let rarely = if one_in(random, 200) { 20 } else { 1 };
                random.u64(0..=*most) * rarely
            }
            Range::Always(always) => *always,
        })
    }
}

pub struct SimulatedHands {
    pub disk: SimulatedDisk,
    pub pace: Arc<Pace>,
}

impl Background for SimulatedHands {
    fn run(&self, work: Work) {
        let pause = self.pace.draw();
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
    pace: Arc<Pace>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Future for Slowly {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.pace.draw())));
        ready!(pause.as_mut().poll(context));
        this.pause = None;
        this.work.as_mut().poll(context)
    }
}
