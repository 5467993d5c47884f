//! How recent the channel's signed timestamp is. A server that hides newer releases can replay the last timestamp that
//! it has, but sign no new one.

use release::{Timestamp, Version};
use serde::{Deserialize, Serialize};

/// Seconds without a new timestamp after which a machine reports it. Channel servers sign one every six hours.
pub const MAX_AGE: u64 = 7 * 86_400;

/// The newest verified timestamp of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The channel; another one starts anew.
    pub channel: String,
    /// Unix time in seconds of the first check of this channel.
    pub since: u64,
    /// Issue time of the timestamp, Unix time in seconds. `None` before the first one.
    pub issued: Option<u64>,
    /// The channel's version according to it.
    pub version: Option<Version>,
}

impl Freshness {
    /// Called with each check at Unix time `now`.
    pub fn follow(&mut self, channel: &str, now: u64) {
        if self.channel != channel {
            *self = Self { channel: channel.to_owned(), since: now, ..Self::default() };
        }
        // The clock was set back.
        self.since = self.since.min(now);
    }

    /// Records a verified timestamp of the channel.
    pub fn confirm(&mut self, timestamp: &Timestamp) {
        self.issued = Some(timestamp.issued);
        self.version = Some(timestamp.version.clone());
    }

    /// Seconds since the newest timestamp was issued, or since the first check, if they exceed [`MAX_AGE`].
    #[must_use]
    pub fn outdated(&self, now: u64) -> Option<u64> {
        let age = now.saturating_sub(self.issued.unwrap_or(self.since));
        (age > MAX_AGE).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use release::{Digest, SCHEMA};

    use super::*;

    const NOW: u64 = 100 * 86_400;

    fn timestamp(issued: u64) -> Timestamp {
        Timestamp {
            schema: SCHEMA,
            channel: "alpha".to_owned(),
            version: Version::new(2, 0, 0),
            release_sha256: Digest([0; 32]),
            issued,
            expires: issued + MAX_AGE,
        }
    }

    #[test]
    fn a_channel_is_outdated_a_week_after_its_last_timestamp() {
        let mut freshness = Freshness::default();
        freshness.follow("alpha", NOW);
        assert_eq!(freshness.outdated(NOW + MAX_AGE), None);
        assert_eq!(freshness.outdated(NOW + MAX_AGE + 1), Some(MAX_AGE + 1), "none since the first check");
        freshness.confirm(&timestamp(NOW + 10));
        freshness.follow("alpha", NOW + 20);
        // By its issue: the same one can be replayed.
        assert_eq!(freshness.outdated(NOW + 10 + MAX_AGE), None);
        assert_eq!(freshness.outdated(NOW + 11 + MAX_AGE), Some(MAX_AGE + 1));
        assert_eq!(freshness.version, Some(Version::new(2, 0, 0)));
    }

    #[test]
    fn another_channel_starts_anew() {
        let mut freshness = Freshness::default();
        freshness.follow("alpha", NOW);
        freshness.confirm(&timestamp(NOW));
        freshness.follow("beta", NOW + 5);
        assert_eq!(
            freshness,
            Freshness { channel: "beta".to_owned(), since: NOW + 5, issued: None, version: None }
        );
        freshness.follow("beta", NOW);
        assert_eq!(freshness.since, NOW);
    }
}
