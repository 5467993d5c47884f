//! When a link pings, and when its connection fails.

use std::time::Duration;

use crate::time::ticks::Ticks;

#[derive(Debug, Clone, Copy)]
pub struct LinkTiming {
    pub ticks: Ticks,
    pub ping_interval: Duration,
    /// A connection that is silent for longer fails.
    pub silence_timeout: Duration,
}

impl LinkTiming {
    pub fn new(heartbeat: Duration, election_timeout: Duration) -> Self {
        Self {
            ticks: Ticks::from_now(),
            ping_interval: heartbeat * 2,
            silence_timeout: election_timeout.max(heartbeat * 10),
        }
    }
}
