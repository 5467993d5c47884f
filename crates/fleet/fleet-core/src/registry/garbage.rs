//! What nothing in the store refers to any more: texts that no unit has, and what is left of destroyed units.

use std::collections::BTreeMap;
use std::time::Duration;

/// A node's memory of when things came out of use.
#[derive(Debug, Clone)]
pub struct RetentionTracker<K> {
    retention: Duration,
    since: BTreeMap<K, Duration>,
}

impl<K: Ord + Clone> RetentionTracker<K> {
    /// What is unused is kept for so long.
    pub fn new(retention: Duration) -> Self {
        Self { retention, since: BTreeMap::new() }
    }

    /// Takes in what is unused now, and says what of it may be deleted. Delete each only where it was not written since this
    /// was asked, by its modifiedIndex.
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
        // Who came into use meanwhile begins anew.
        assert_eq!(tracker.step(hours(26), [other]), []);
        assert_eq!(tracker.step(hours(30), [one, other]), []);
        assert_eq!(tracker.step(hours(44), [one, other]), [other]);
    }
}
