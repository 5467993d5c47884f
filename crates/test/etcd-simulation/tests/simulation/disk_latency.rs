//! The latency of a simulated disk.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;

use etcd_simulation::one_in;

/// The distribution of the latency in milliseconds.
pub struct DiskLatency {
    chosen: Mutex<(Rng, Range)>,
}

#[derive(Debug, Clone, Copy)]
enum Range {
    /// Rarely twenty times as long.
    UpTo(u64),
    Always(u64),
}

impl DiskLatency {
    pub fn new(random: Rng) -> Arc<Self> {
        Arc::new(Self { chosen: Mutex::new((random, Range::UpTo(2))) })
    }

    pub fn set(&self, max: u64) {
        self.chosen.lock().1 = Range::UpTo(max);
    }

    pub fn set_steady(&self, always: u64) {
        self.chosen.lock().1 = Range::Always(always);
    }

    pub fn sample(&self) -> Duration {
        let (random, range) = &mut *self.chosen.lock();
        Duration::from_millis(match range {
            Range::UpTo(max) => {
                let rarely = if one_in(random, 200) { 20 } else { 1 };
                random.u64(0..=*max) * rarely
            }
            Range::Always(always) => *always,
        })
    }
}
