//! Retention of keys that are not referenced any more.

use std::collections::BTreeMap;
use std::time::Duration;

/// Records since when keys are unused.
#[derive(Debug, Clone)]
pub struct RetentionTracker<K> {
    retention: Duration,
    since: BTreeMap<K, Duration>,
}

impl<K: Ord + Clone> RetentionTracker<K> {
    /// Unused keys are kept for `retention`.
    pub fn new(retention: Duration) -> Self {
        Self { retention, since: BTreeMap::new() }
    }

    /// Records the currently unused keys. Returns those to delete, with a compare on the modifiedIndex read after
    /// this call.
    pub fn step(&mut self, now: Duration, unused: impl IntoIterator<Item = K>) -> Vec<K> {
        let before = std::mem::take(&mut self.since);
        let since = |key: &K| before.get(key).copied().unwrap_or(now);
        self.since = unused.into_iter().map(|key| (key.clone(), since(&key))).collect();
        let expired = |since: &Duration| now.saturating_sub(*since) >= self.retention;
        self.since.iter().filter(|(_, since)| expired(since)).map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use unit_file::UnitHash;

    use super::*;

    #[test]
    fn expires_a_day_after_the_last_use() {
        let (one, other) = (UnitHash([1; 20]), UnitHash([2; 20]));
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let mut tracker = RetentionTracker::new(hours(24));
        assert_eq!(tracker.step(hours(1), [one]), []);
        assert_eq!(tracker.step(hours(20), [one, other]), []);
        assert_eq!(tracker.step(hours(25), [one, other]), [one]);
        // A key that was used meanwhile starts over.
        assert_eq!(tracker.step(hours(26), [other]), []);
        assert_eq!(tracker.step(hours(30), [one, other]), []);
        assert_eq!(tracker.step(hours(44), [one, other]), [other]);
    }
}
