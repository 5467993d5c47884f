//! Detects stale lock holders.
//!
//! A holder keeps the lock until it reports itself healthy or an operator releases it: a version that fails to
//! boot must stop at one machine. Age alone never releases a lock. A holder is stale, and released by
//! `locksmithctl unlock --stale`, if it
//!
//! - took the lock itself to reboot (an operator's lock is the operator's to release),
//! - did so longer ago than the age in [`STALE_AFTER`], and
//! - is not among the machines that the cluster manager reports, while that is reachable.

use std::collections::BTreeSet;
use std::time::Duration;

use command_line::{Flag, ValueKind};
use jiff::Timestamp;

use crate::metadata::HolderMetadata;

/// A reboot with its health checks takes minutes.
pub const STALE_AFTER: Flag =
    Flag::new("stale-after", ValueKind::Duration, "how long ago a dead machine took the lock at least")
        .default("1h");

/// The verdict on one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staleness {
    /// With the reason.
    Alive(&'static str),
    Stale,
}

/// `present`: the machines that the cluster manager reports, `None` if it is unreachable.
#[must_use]
pub fn staleness(
    holder: &str,
    metadata: Option<&HolderMetadata>,
    present: Option<&BTreeSet<String>>,
    now: Timestamp,
    after: Duration,
) -> Staleness {
    let Some(metadata) = metadata else {
        return Staleness::Alive("it is unknown since when it holds the lock");
    };
    if metadata.boot_id.is_empty() {
        return Staleness::Alive("a person took the lock for it");
    }
    let Some(present) = present else {
        return Staleness::Alive("the cluster manager could not be queried");
    };
    if present.contains(holder) {
        return Staleness::Alive("the cluster manager sees it");
    }
    // A timestamp in the future comes from clock skew and counts as age zero.
    let age = Duration::try_from(now.duration_since(metadata.since)).unwrap_or_default();
    if age <= after {
        return Staleness::Alive("it may still be rebooting");
    }
    Staleness::Stale
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
    const NOW: &str = "2026-11-21T15:00:00Z";

    /// Metadata as boot ID and timestamp, the present machines, and the verdict.
    fn check(metadata: Option<(&str, &str)>, present: Option<&[&str]>, expect: &str) {
        let metadata = metadata.map(|(boot, since)| HolderMetadata {
            since: since.parse().unwrap(),
            boot_id: boot.into(),
            version: String::new(),
            reason: String::new(),
        });
        let present = present.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        let got = match staleness("m", metadata.as_ref(), present.as_ref(), NOW.parse().unwrap(), STALE_AFTER)
        {
            Staleness::Alive(reason) => reason,
            Staleness::Stale => "stale",
        };
        assert_eq!(got, expect, "{metadata:?} {present:?}");
    }

    #[test]
    fn staleness_rules() {
        let old = Some(("b", "2026-11-21T13:59:59Z"));
        check(old, Some(&["n"]), "stale");
        check(old, Some(&["m", "n"]), "the cluster manager sees it");
        check(old, None, "the cluster manager could not be queried");
        check(Some(("b", "2026-11-21T14:00:00Z")), Some(&["n"]), "it may still be rebooting");
        check(Some(("b", "2026-11-21T17:00:00Z")), Some(&["n"]), "it may still be rebooting");
        check(Some(("", "2026-11-20T14:00:00Z")), Some(&["n"]), "a person took the lock for it");
        check(None, Some(&["n"]), "it is unknown since when it holds the lock");
    }
}
