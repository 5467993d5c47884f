//! Periodic work of a member at shared times: it wakes up once for all of its links and heartbeats.

use std::time::Duration;

use tokio::time::Instant;

/// The multiples of each period since a common start.
#[derive(Debug, Clone, Copy)]
pub struct Ticks(Instant);

impl Ticks {
    pub fn from_now() -> Self {
        Self(Instant::now())
    }

    /// The next multiple of `period`, which is not zero.
    pub fn next(self, period: Duration) -> Instant {
        let now = Instant::now();
        let since_last = now.duration_since(self.0).as_nanos() % period.as_nanos();
        // invariant: less than a period of a few seconds.
        now + period - Duration::from_nanos(since_last as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn periods_share_their_multiples() {
        let ticks = Ticks::from_now();
        let start = Instant::now();
        let millis = Duration::from_millis;
        assert_eq!(ticks.next(millis(100)), start + millis(100));
        tokio::time::advance(millis(130)).await;
        assert_eq!(ticks.next(millis(100)), start + millis(200));
        assert_eq!(ticks.next(millis(200)), start + millis(200));
        tokio::time::advance(millis(70)).await;
        assert_eq!(ticks.next(millis(200)), start + millis(400), "not the present one again");
    }
}
