//! The processor time that a machine uses, and would use on an idle host: it tells a machine that its host delays from
//! one that waits.

use std::time::{Duration, Instant};

use crate::limits;
use crate::process::Process;

/// Samples a machine's process.
#[derive(Debug)]
pub struct ProcessorUse {
    process: Process,
    sampled_at: Instant,
    used: Duration,
    delayed: Duration,
}

/// The processor time between two samples.
#[derive(Debug, Clone, Copy)]
pub struct Interval {
    pub elapsed: Duration,
    pub used: Duration,
    /// Time in which threads were ready to run but had no processor.
    pub delayed: Duration,
}

impl ProcessorUse {
    pub fn from_now(process: Process) -> Self {
        let used = process.processor_time().unwrap_or_default();
        Self { process, sampled_at: Instant::now(), used, delayed: process.processor_delay() }
    }

    /// The time since the last sample; `None` if that was less than [`limits::CPU_SAMPLE_INTERVAL`] ago, or if the
    /// process has exited.
    pub fn sample(&mut self) -> Option<Interval> {
        let elapsed = self.sampled_at.elapsed();
        if elapsed < limits::CPU_SAMPLE_INTERVAL {
            return None;
        }
        let (used, delayed) = (self.process.processor_time()?, self.process.processor_delay());
        let interval = Interval {
            elapsed,
            used: used.saturating_sub(self.used),
            // The delays of threads that have exited meanwhile are lost.
            delayed: delayed.saturating_sub(self.delayed),
        };
        *self = Self { process: self.process, sampled_at: Instant::now(), used, delayed };
        Some(interval)
    }
}

impl Interval {
    /// Whether the machine computed, or would have if its host had let it.
    pub fn is_busy(self) -> bool {
        self.used + self.delayed >= self.elapsed.mul_f64(limits::CPU_BUSY_SHARE)
    }

    /// The time in which the host let the machine run or wait; at least a tenth, so that every wait ends.
    pub fn undelayed(self) -> Duration {
        self.elapsed.saturating_sub(self.delayed).max(self.elapsed / 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ten_seconds(used: u64, delayed: u64) -> Interval {
        let [used, delayed] = [used, delayed].map(Duration::from_millis);
        Interval { elapsed: Duration::from_secs(10), used, delayed }
    }

    #[test]
    fn a_machine_that_its_host_delays_is_busy() {
        assert!(of_ten_seconds(1_000, 0).is_busy());
        assert!(of_ten_seconds(100, 5_000).is_busy());
        assert!(!of_ten_seconds(100, 100).is_busy(), "a machine that waits uses as much");
    }

    #[test]
    fn delays_do_not_count_against_a_machine() {
        let undelayed = |delayed| of_ten_seconds(100, delayed).undelayed();
        assert_eq!(undelayed(0), Duration::from_secs(10));
        assert_eq!(undelayed(7_000), Duration::from_secs(3));
        assert_eq!(undelayed(20_000), Duration::from_secs(1), "several threads");
    }
}
