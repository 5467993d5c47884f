//! Texts that no unit has had for a day.

use std::collections::BTreeMap;
use std::time::Duration;

use unit_file::UnitHash;

/// The original never deletes a text; who destroyed a unit may submit it again.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The leader's memory of when texts came out of use.
#[derive(Debug, Clone, Default)]
pub struct Garbage {
    since: BTreeMap<UnitHash, Duration>,
}

impl Garbage {
    /// Takes in which texts are unused now, and says which may be deleted. Delete each only where it was not
    /// written since this was asked, by its modifiedIndex.
    pub fn step(&mut self, now: Duration, unused: impl IntoIterator<Item = UnitHash>) -> Vec<UnitHash> {
        let before = std::mem::take(&mut self.since);
        self.since =
            unused.into_iter().map(|hash| (hash, before.get(&hash).copied().unwrap_or(now))).collect();
        let old = |since: &Duration| now.saturating_sub(*since) >= KEPT;
        self.since.iter().filter(|(_, since)| old(since)).map(|(hash, _)| *hash).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_out_of_use() {
        let (one, other) = (UnitHash([1; 20]), UnitHash([2; 20]));
        let mut garbage = Garbage::default();
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        assert_eq!(garbage.step(hours(1), [one]), []);
        assert_eq!(garbage.step(hours(20), [one, other]), []);
        assert_eq!(garbage.step(hours(25), [one, other]), [one]);
        // Who came into use meanwhile begins anew.
        assert_eq!(garbage.step(hours(26), [other]), []);
        assert_eq!(garbage.step(hours(30), [one, other]), []);
        assert_eq!(garbage.step(hours(44), [one, other]), [other]);
    }
}
