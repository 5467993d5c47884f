//! Which holders count as dead.
//!
//! A holder keeps the lock until it says itself that it is healthy again, or until a person releases it: a version
//! that does not come up must stop at one machine. Nothing is ever released by its age alone. What is shown as stale,
//! and what `locksmithctl unlock --stale` releases, is a machine that
//!
//! - took the lock itself to reboot (a lock that a person took is a person's to release),
//! - did so longer ago than [`STALE_AFTER`], or what was asked for instead, and
//! - is not among the machines that the cluster manager sees, while that could be asked.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::notes::Note;

/// A reboot with its health checks takes minutes.
pub const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// What is known of one holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Staleness {
    /// With what speaks against it being dead.
    Alive(&'static str),
    Stale,
}

/// `present` are the machines that the cluster manager sees; `None` where it could not be asked.
#[must_use]
pub fn stale(
    holder: &str,
    note: Option<&Note>,
    present: Option<&BTreeSet<String>>,
    now: Timestamp,
    after: Duration,
) -> Staleness {
    let Some(note) = note else { return Staleness::Alive("nobody knows since when it holds the lock") };
    if note.boot_id.is_empty() {
        return Staleness::Alive("a person took the lock for it");
    }
    let Some(present) = present else {
        return Staleness::Alive("the cluster manager could not be asked for it");
    };
    if present.contains(holder) {
        return Staleness::Alive("the cluster manager sees it");
    }
    // A time to come is another machine's clock; that is no age.
    let age = Duration::try_from(now.duration_since(note.since)).unwrap_or_default();
    if age <= after {
        return Staleness::Alive("it may still be rebooting");
    }
    Staleness::Stale
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T15:00:00Z";

    /// A note as `BOOT SINCE`, the machines that are seen, and the answer.
    fn check(note: Option<(&str, &str)>, present: Option<&[&str]>, expect: &str) {
        let note = note.map(|(boot, since)| Note {
            since: since.parse().unwrap(),
            boot_id: boot.into(),
            version: String::new(),
            reason: String::new(),
        });
        let present = present.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        let got = match stale("m", note.as_ref(), present.as_ref(), NOW.parse().unwrap(), STALE_AFTER) {
            Staleness::Alive(why) => why,
            Staleness::Stale => "stale",
        };
        assert_eq!(got, expect, "{note:?} {present:?}");
    }

    #[test]
    fn dead_or_not() {
        let old = Some(("b", "2026-11-21T13:59:59Z"));
        check(old, Some(&["n"]), "stale");
        check(old, Some(&["m", "n"]), "the cluster manager sees it");
        check(old, None, "the cluster manager could not be asked for it");
        check(Some(("b", "2026-11-21T14:00:00Z")), Some(&["n"]), "it may still be rebooting");
        check(Some(("b", "2026-11-21T17:00:00Z")), Some(&["n"]), "it may still be rebooting");
        check(Some(("", "2026-11-20T14:00:00Z")), Some(&["n"]), "a person took the lock for it");
        check(None, Some(&["n"]), "nobody knows since when it holds the lock");
    }
}
