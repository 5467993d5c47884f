//! Replacement for the crate of the same name in openraft's dependencies (`[patch.crates-io]` in the workspace's
//! manifest).
//!
//! The published crate computes tables of all sixteen scales, 25 MB that stay in memory; openraft uses one of them,
//! for statistics that members do not read. Here buckets are computed from the value: powers of two, divided into
//! four like that scale. Only the functions that openraft calls exist.

#![warn(missing_docs)]

use std::fmt;
use std::marker::PhantomData;

/// The highest bits of a value, which determine its bucket.
const PRECISION_BITS: u32 = 3;
/// Buckets per power of two.
const BUCKETS_PER_POWER: usize = 1 << (PRECISION_BITS - 1);
const BUCKETS: usize = bucket(u64::MAX) + 1;

/// A histogram with a relative error of at most a quarter. `T` is unused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    buckets: Vec<u64>,
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// A histogram without samples; its size is constant, about 2 KB.
    pub fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], slots: PhantomData }
    }

    /// Adds a sample.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Adds the same sample several times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if let Some(count) = self.buckets.get_mut(bucket(value)) {
            *count = count.saturating_add(times);
        }
    }

    fn samples(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The lower bound of the bucket with this permille of the samples; 0 without samples.
    fn percentile(&self, permille: u64) -> u64 {
        let rank = u128::from(self.samples()) * u128::from(permille) / 1000;
        let mut below = 0_u128;
        let reaches_rank = |count: &u64| {
            below += u128::from(*count);
            below > rank
        };
        self.buckets.iter().position(reaches_rank).map_or(0, lower_bound)
    }

    /// Percentiles as lower bounds of their buckets; all 0 without samples.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.samples(),
            p0_1: self.percentile(1),
            p1: self.percentile(10),
            p5: self.percentile(50),
            p10: self.percentile(100),
            p50: self.percentile(500),
            p90: self.percentile(900),
            p99: self.percentile(990),
            p99_9: self.percentile(999),
        }
    }
}

const fn bucket(value: u64) -> usize {
    // Small values have their own buckets.
    let Some(power) = value.checked_ilog2() else { return 0 };
    if power < PRECISION_BITS - 1 {
        return value as usize;
    }
    let shift = power - (PRECISION_BITS - 1);
    shift as usize * BUCKETS_PER_POWER + (value >> shift) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    let shift = (bucket / BUCKETS_PER_POWER).saturating_sub(1);
    ((bucket - shift * BUCKETS_PER_POWER) as u64) << shift
}

/// Percentiles of a histogram; 99.9 % of the samples are below `p99_9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a field is named after its percentile")]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p0_1, p1, p5, p10, p50, p90, p99, p99_9 } = self;
        write!(
            f,
            "{samples} samples: 0.1% {p0_1}, 1% {p1}, 5% {p5}, 10% {p10}, 50% {p50}, 90% {p90}, 99% {p99}, 99.9% {p99_9}"
        )
    }
}

/// Several histograms, one per line.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    lines: Vec<String>,
}

impl AsciiChart {
    /// A chart without lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a line `NAME: PERCENTILES`.
    #[must_use]
    pub fn add<T>(mut self, name: &str, histogram: Histogram<T>) -> Self {
        self.lines.push(format!("{name}: {}", histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_in_the_bucket_of_its_lower_bound() {
        let powers = (0..64).map(|power| 1_u64 << power);
        let values = powers.flat_map(|power| [power - 1, power, power + power / 4, power + power / 2]);
        for value in values.chain([5, 6, 7, 100, u64::MAX]) {
            let at = bucket(value);
            assert!(lower_bound(at) <= value, "{value}");
            assert!(value - lower_bound(at) <= value / 4, "{value} in a bucket from {}", lower_bound(at));
            assert_eq!(bucket(lower_bound(at)), at, "{value}");
        }
        assert!((1..BUCKETS).all(|at| bucket(lower_bound(at) - 1) == at - 1));
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        (1..=1000).for_each(|value| histogram.record(value));
        histogram.record_n(1 << 40, 10);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p0_1, stats.p50, stats.p90), (1010, 2, 448, 896));
        assert_eq!(stats.p99_9, 1 << 40);
    }
}
