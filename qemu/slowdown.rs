//! Measures how slow the host is by a fixed workload.

use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Time of [`work`] on the idle reference host: class A of `docs/benchmarks.md`.
const REFERENCE: Duration = Duration::from_micros(20_000);
/// Cap of the factor: beyond it a missed limit fails, however slow the host is.
const SLOWEST: f64 = 4.0;
/// Size of [`work`]'s input: longer than a scheduler's time slice, so that other load is measured too.
const BYTES: usize = 4 << 20;
/// Odd, so that one of them is the median.
const SAMPLES: usize = 9;

/// Time of a fixed workload on this host, relative to the reference host; between 1 and [`SLOWEST`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Slowdown(pub(crate) f64);

impl Slowdown {
    /// Measures the host: the median of [`SAMPLES`] runs of the workload.
    pub fn measured() -> Result<Self, Failure> {
        let text = text();
        let samples = (0..SAMPLES).map(|_| work(&text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(samples))
    }

    fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
        Self(median.div_duration_f64(REFERENCE).clamp(1.0, SLOWEST))
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

/// Slowdown of the host now; 1 if it cannot be measured.
#[must_use]
pub fn slowdown() -> f64 {
    Slowdown::measured().map_or(1.0, |slowdown| slowdown.0)
}

/// Compresses [`BYTES`] with zstd, whose C code is optimized in every profile.
fn work(text: &[u8]) -> Result<Duration, Failure> {
    let began = Instant::now();
    let packed = zstd::bulk::compress(text, 3).map_err(Failure::Calibration)?;
    std::hint::black_box(packed);
    Ok(began.elapsed())
}

/// Half-compressible input, the same on every host.
fn text() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = Vec::with_capacity(BYTES);
    while text.len() < BYTES {
        let word = random.u64(..).to_be_bytes();
        text.extend_from_slice(&word);
        text.extend_from_slice(b"the same");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(factors: &[f64]) -> Vec<Duration> {
        factors.iter().map(|factor| REFERENCE.mul_f64(*factor)).collect()
    }

    #[test]
    fn the_median_counts_between_one_and_the_cap() {
        for (samples, expect) in [
            (&[0.5, 0.5, 0.5][..], 1.0),
            (&[1.0, 1.0, 1.0], 1.0),
            (&[9.0, 1.5, 1.0], 1.5),
            (&[0.1, 3.0, 3.5], 3.0),
            (&[40.0, 50.0, 60.0], SLOWEST),
        ] {
            let Slowdown(found) = Slowdown::of(times(samples));
            assert!((found - expect).abs() < 1e-6, "{samples:?}: {found}, not {expect}");
        }
    }

    #[test]
    fn a_measurement_is_within_its_bounds() {
        let Slowdown(first) = Slowdown::measured().unwrap();
        assert!((1.0..=SLOWEST).contains(&first), "{first}");
        assert_eq!(Slowdown(1.0).max(Slowdown(3.0)), Slowdown(3.0).max(Slowdown(1.0)));
    }
}
