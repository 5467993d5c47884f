//! Rate limiting.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Limits the average rate of a reader.
pub struct Throttled<R> {
    inner: R,
    rate: u64,
    started: Instant,
    read: u64,
}

/// Maximum delay of a read, so that cancellation stays responsive.
const MAX_DELAY: Duration = Duration::from_millis(500);

impl<R> Throttled<R> {
    /// `rate` in bytes per second, above 0.
    pub fn new(inner: R, rate: u64) -> Self {
        Self { inner, rate: rate.max(1), started: Instant::now(), read: 0 }
    }
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let due = Duration::from_secs_f64(self.read as f64 / self.rate as f64);
        sleep(due.saturating_sub(self.started.elapsed()).min(MAX_DELAY));
        let limit = usize::try_from(self.rate / 4).unwrap_or(usize::MAX).max(1).min(into.len());
        let read = self.inner.read(&mut into[..limit])?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_read_at_the_rate() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let started = Instant::now();
        let mut read = Vec::new();
        Throttled::new(&bytes[..], 10_000).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    }
}
