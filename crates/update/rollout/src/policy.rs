//! Update policies of groups.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::limits::{UNLIMITED, WAVES, WINDOWS};
use crate::window::Window;

/// Looks up a time zone by name.
pub type Zones<'a> = &'a dyn Fn(&str) -> Option<TimeZone>;

/// When, and how many machines at a time, a group updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// One machine first, until it runs the version. Lost machines pause the group.
    pub safe_mode: bool,
    /// Monday to Friday, 9:00 to 16:59 in the time zone.
    pub office_hours: bool,
    /// In addition to office hours. Empty: always.
    pub windows: Vec<Window>,
    /// `Europe/Berlin`. Without a known time zone, windows never open.
    pub timezone: Option<String>,
    /// Seconds.
    pub period: u64,
    /// Machines that may start an update within a period.
    pub max_per_period: Option<u32>,
    /// Machines with an update in progress.
    pub max_in_progress: Option<u32>,
    /// Seconds from a grant, and from each step, to the next step.
    pub timeout: u64,
    /// Share of the machines, selected by a hash of machine and version.
    pub percent: u8,
    /// Share by the age of the rollout, in order of time. Before the first wave no machine gets the version.
    pub waves: Vec<Wave>,
    /// Pauses the group when this many machines, and `failure_percent` of those that tried, failed with a version.
    pub max_failures: Option<u32>,
    /// 0 to 100.
    pub failure_percent: u8,
}

/// A step of a gradual rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Seconds since the channel points to the version.
    pub after: u64,
    /// Share of the machines, 0 to 100.
    pub percent: u8,
}

impl Default for Policy {
    /// All machines immediately, but three failures that are a tenth of the attempts pause the group.
    fn default() -> Self {
        Self {
            safe_mode: false,
            office_hours: false,
            windows: Vec::new(),
            timezone: None,
            period: 15 * 60,
            max_per_period: None,
            max_in_progress: None,
            timeout: 60 * 60,
            percent: 100,
            waves: Vec::new(),
            max_failures: Some(3),
            failure_percent: 10,
        }
    }
}

/// Why a policy is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PolicyError {
    #[error("{field}: {found} is more than 100 percent")]
    Percent { field: &'static str, found: u8 },
    #[error("{field}: must be 1 to 31,536,000 seconds")]
    Seconds { field: &'static str },
    #[error("waves must be in order of time, with non-decreasing percentages")]
    Waves,
    #[error("{field}: the maximum is {limit}")]
    TooMany { field: &'static str, limit: usize },
    #[error("timezone: unknown time zone {0:?}")]
    UnknownTimeZone(String),
    #[error("windows and office hours need a timezone")]
    MissingTimeZone,
}

const YEAR: u64 = 365 * 24 * 3600;

impl Policy {
    /// # Errors
    /// A value is out of range or contradictory, or would block all updates.
    pub fn check(&self, zones: Zones<'_>) -> Result<(), PolicyError> {
        for (field, found) in [("percent", self.percent), ("failure_percent", self.failure_percent)] {
            if found > 100 {
                return Err(PolicyError::Percent { field, found });
            }
        }
        for (field, seconds) in [("period", self.period), ("timeout", self.timeout)] {
            if !(1..=YEAR).contains(&seconds) {
                return Err(PolicyError::Seconds { field });
            }
        }
        if self.waves.len() > WAVES {
            return Err(PolicyError::TooMany { field: "waves", limit: WAVES });
        }
        if let Some(wave) = self.waves.iter().find(|wave| wave.percent > 100) {
            return Err(PolicyError::Percent { field: "waves", found: wave.percent });
        }
        if self
            .waves
            .windows(2)
            .any(|pair| pair[1].after <= pair[0].after || pair[1].percent < pair[0].percent)
        {
            return Err(PolicyError::Waves);
        }
        if self.windows.len() > WINDOWS {
            return Err(PolicyError::TooMany { field: "windows", limit: WINDOWS });
        }
        match &self.timezone {
            Some(name) if zones(name).is_none() => Err(PolicyError::UnknownTimeZone(name.clone())),
            None if self.office_hours || !self.windows.is_empty() => Err(PolicyError::MissingTimeZone),
            _ => Ok(()),
        }
    }

    /// Whether updates may start at `now`, Unix time in seconds.
    pub(crate) fn is_open(&self, now: u64, zones: Zones<'_>) -> bool {
        if !self.office_hours && self.windows.is_empty() {
            return true;
        }
        let Some(zone) = self.timezone.as_deref().and_then(zones) else { return false };
        (!self.office_hours || Window::office_hours().contains(now, &zone))
            && (self.windows.is_empty() || self.windows.iter().any(|window| window.contains(now, &zone)))
    }

    /// The share, in percent, that may get a version after `age` seconds of its rollout.
    pub fn share(&self, age: u64) -> u8 {
        let reached = self.waves.iter().rev().find(|wave| wave.after <= age).map(|wave| wave.percent);
        let by_wave = if self.waves.is_empty() { 100 } else { reached.unwrap_or(0) };
        by_wave.min(self.percent)
    }

    pub(crate) fn per_period(&self) -> Option<usize> {
        limit(self.max_per_period)
    }

    pub(crate) fn in_progress(&self) -> Option<usize> {
        limit(self.max_in_progress)
    }

    /// Whether the failures exceed the policy's limits.
    pub(crate) fn is_failing(&self, failed: u32, attempted: u32) -> bool {
        let exceeds_rate =
            u64::from(failed) * 100 >= u64::from(self.failure_percent) * u64::from(attempted.max(1));
        self.max_failures.is_some_and(|most| failed >= most.max(1)) && exceeds_rate
    }
}

fn limit(number: Option<u32>) -> Option<usize> {
    number.filter(|number| *number < UNLIMITED).and_then(|number| usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(name: &str) -> Option<TimeZone> {
        (name == "UTC").then_some(TimeZone::UTC)
    }

    #[test]
    fn waves_raise_the_share_up_to_the_percent() {
        let wave = |after, percent| Wave { after, percent };
        let mut policy =
            Policy { waves: vec![wave(10, 1), wave(20, 50), wave(30, 100)], ..Policy::default() };
        let shares = |policy: &Policy| [0, 10, 19, 20, 30, 9999].map(|age| policy.share(age));
        assert_eq!(shares(&policy), [0, 1, 1, 50, 100, 100]);
        policy.percent = 20;
        assert_eq!(shares(&policy), [0, 1, 1, 20, 20, 20]);
        assert_eq!(Policy { percent: 7, ..Policy::default() }.share(0), 7);
    }

    #[test]
    fn invalid_policies_are_rejected() {
        let check = |policy: Policy, expect: &str| {
            assert_eq!(policy.check(&zones).map_err(|error| error.to_string()), Err(expect.to_owned()));
        };
        Policy::default().check(&zones).unwrap();
        let policy = Policy::default;
        check(Policy { percent: 101, ..policy() }, "percent: 101 is more than 100 percent");
        check(Policy { timeout: 0, ..policy() }, "timeout: must be 1 to 31,536,000 seconds");
        check(Policy { office_hours: true, ..policy() }, "windows and office hours need a timezone");
        check(Policy { timezone: Some("Mars".into()), ..policy() }, "timezone: unknown time zone \"Mars\"");
        let waves = vec![Wave { after: 5, percent: 50 }, Wave { after: 9, percent: 40 }];
        check(
            Policy { waves, ..policy() },
            "waves must be in order of time, with non-decreasing percentages",
        );
    }

    #[test]
    fn a_window_without_a_known_time_zone_is_never_open() {
        let policy = Policy { office_hours: true, timezone: Some("Mars".into()), ..Policy::default() };
        assert!(!policy.is_open(0, &zones));
        // Thursday, 1970-01-01.
        let policy = Policy { timezone: Some("UTC".into()), ..policy };
        assert!(!policy.is_open(0, &zones) && policy.is_open(9 * 3600, &zones));
    }

    #[test]
    fn failures_are_limited_by_count_and_by_rate() {
        let policy = Policy { max_failures: Some(2), failure_percent: 10, ..Policy::default() };
        assert!(!policy.is_failing(1, 1) && policy.is_failing(2, 20) && !policy.is_failing(2, 21));
        assert!(!Policy { max_failures: None, ..policy }.is_failing(9, 9));
    }
}
