//! Whether a transfer makes progress: a byte now and then is none.

use std::time::{Duration, Instant};

pub struct Pace {
    window: Duration,
    min_bytes: u64,
    began: Instant,
    bytes: u64,
}

impl Pace {
    pub fn new(window: Duration, min_bytes: u64, now: Instant) -> Self {
        Self { window, min_bytes, began: now, bytes: 0 }
    }

    /// False if fewer bytes than required arrived within a window.
    pub fn advance(&mut self, bytes: usize, now: Instant) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if now.duration_since(self.began) < self.window {
            return true;
        }
        let enough = self.bytes >= self.min_bytes;
        (self.began, self.bytes) = (now, 0);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_needs_its_bytes() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(10), 100, start);
        for (seconds, bytes, expected) in
            [(1, 1, true), (9, 1, true), (10, 98, true), (15, 99, true), (20, 0, false), (21, 500, true)]
        {
            assert_eq!(pace.advance(bytes, start + Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }
}
