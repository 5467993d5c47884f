//! Rate limiting.

use std::io::{self, Read};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Limits the average rate of a reader.
pub struct Throttled<R> {
    inner: R,
    rate: u64,
    begun: Instant,
    read: u64,
}

/// Maximum delay of a read, so that cancellation stays responsive.
const NAP: Duration = Duration::from_millis(500);

impl<R> Throttled<R> {
    /// `rate` in bytes per second, above 0.
    pub fn new(inner: R, rate: u64) -> Self {
        Self { inner, rate: rate.max(1), begun: Instant::now(), read: 0 }
    }
}

impl<R: Read> Read for Throttled<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let due = Duration::from_secs_f64(self.read as f64 / self.rate as f64);
        sleep(due.saturating_sub(self.begun.elapsed()).min(NAP));
        let most = usize::try_from(self.rate / 4).unwrap_or(usize::MAX).max(1).min(into.len());
        let read = self.inner.read(&mut into[..most])?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_the_rate_is_kept() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let begun = Instant::now();
        let mut read = Vec::new();
        Throttled::new(&bytes[..], 10_000).read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert!(begun.elapsed() >= Duration::from_millis(250), "{:?}", begun.elapsed());
    }
}
