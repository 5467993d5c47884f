//! Rate limit per address: a token bucket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::limits::{MAX_ADDRESSES, RATE_BURST, RATE_PER_SECOND};

#[derive(Default)]
pub struct RateLimiter {
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    left: f64,
    since: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        self.left = (self.left + seconds * RATE_PER_SECOND).min(RATE_BURST);
        self.since = now;
    }
}

impl RateLimiter {
    /// Takes `cost` from the address's bucket if it contains that much.
    pub fn allow(&mut self, address: IpAddr, cost: f64, now: Instant) -> bool {
        if self.buckets.len() >= MAX_ADDRESSES && !self.buckets.contains_key(&address) {
            // A full bucket is equivalent to none.
            self.buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.left < RATE_BURST
            });
            if self.buckets.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let bucket = self.buckets.entry(address).or_insert(Bucket { left: RATE_BURST, since: now });
        bucket.fill(now);
        if bucket.left < cost {
            return false;
        }
        bucket.left -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn burst_and_rate_per_address() {
        let (mut rate_limiter, now) = (RateLimiter::default(), Instant::now());
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let allowed = (0..1_000).filter(|_| rate_limiter.allow(a, 1.0, now)).count();
        assert_eq!(allowed, RATE_BURST as usize);
        assert!(rate_limiter.allow(b, 1.0, now));
        let later = now + Duration::from_secs(1);
        let allowed = (0..1_000).filter(|_| rate_limiter.allow(a, 1.0, later)).count();
        assert_eq!(allowed, RATE_PER_SECOND as usize);
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut rate_limiter, now) = (RateLimiter::default(), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..u32::try_from(MAX_ADDRESSES).unwrap() {
            assert!(rate_limiter.allow(address(number), 1.0, now));
        }
        assert!(!rate_limiter.allow(address(u32::MAX), 1.0, now));
        assert!(rate_limiter.allow(address(u32::MAX), 1.0, now + Duration::from_secs(10)));
        assert_eq!(rate_limiter.buckets.len(), 1);
    }
}
