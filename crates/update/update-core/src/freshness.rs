//! How recent the repository's timestamp is. A server that hides newer releases can replay the last timestamp that it
//! has, but sign no new one.

use release::Version;
use serde::{Deserialize, Serialize};

/// Seconds that a timestamp is valid: a machine reports it if it has no valid one. Channel servers sign one every six hours.
pub const LIFETIME: u64 = 7 * 86_400;
/// Maximum seconds from now until a timestamp expires: a stolen channel key is useless after that time, and clocks may
/// differ by a day.
pub const MAX_VALIDITY: u64 = LIFETIME + 86_400;

/// The newest verified timestamp, and what the machine's channel had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The channel; another one starts anew.
    pub channel: String,
    /// Unix time in seconds of the first check of this channel.
    pub since: u64,
    /// Unix time in seconds at which the timestamp expires. `None` before the first one.
    pub expires: Option<u64>,
    /// The channel's version according to it, if it has one.
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

    /// Records a verified timestamp that expires at Unix time `expires`.
    pub fn confirm(&mut self, expires: u64, version: Option<&Version>) {
        self.expires = Some(expires);
        self.version = version.cloned();
    }

    /// Seconds since the newest timestamp was signed, or since the first check, if they exceed [`LIFETIME`].
    #[must_use]
    pub fn outdated(&self, now: u64) -> Option<u64> {
        let signed = self.expires.map_or(self.since, |expires| expires.saturating_sub(LIFETIME));
        let age = now.saturating_sub(signed);
        (age > LIFETIME).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 100 * 86_400;

    #[test]
    fn a_channel_is_outdated_when_its_last_timestamp_expires() {
        let mut freshness = Freshness::default();
        freshness.follow("alpha", NOW);
        assert_eq!(freshness.outdated(NOW + LIFETIME), None);
        assert_eq!(freshness.outdated(NOW + LIFETIME + 1), Some(LIFETIME + 1), "none since the first check");
        let version = Version::new(2, 0, 0);
        freshness.confirm(NOW + 10 + LIFETIME, Some(&version));
        freshness.follow("alpha", NOW + 20);
        // By its expiry: the same one can be replayed.
        assert_eq!(freshness.outdated(NOW + 10 + LIFETIME), None);
        assert_eq!(freshness.outdated(NOW + 11 + LIFETIME), Some(LIFETIME + 1));
        assert_eq!(freshness.version, Some(version));
    }

    #[test]
    fn another_channel_starts_anew() {
        let mut freshness = Freshness::default();
        freshness.follow("alpha", NOW);
        freshness.confirm(NOW + LIFETIME, None);
        freshness.follow("beta", NOW + 5);
        assert_eq!(
            freshness,
            Freshness { channel: "beta".to_owned(), since: NOW + 5, expires: None, version: None }
        );
        freshness.follow("beta", NOW);
        assert_eq!(freshness.since, NOW);
    }
}
