//! Units that this machine could not load or start, with cause and time of the next attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::Refusal;
use tokio::time::Instant;
use unit_file::{UnitHash, UnitName};

use crate::limits::{MAX_REFUSAL_BACKOFF, REFUSAL_BACKOFF, REFUSAL_RETENTION};

/// By unit, for its latest file.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<UnitName, Refused>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub hash: UnitHash,
    pub refusal: Refusal,
    tried_at: Instant,
    /// Interval between attempts.
    backoff: Duration,
}

impl Refused {
    pub fn is_due(&self) -> bool {
        self.tried_at.elapsed() >= self.backoff
    }

    /// Whether the refusal may be dropped although the unit was moved to another machine.
    pub fn is_expired(&self) -> bool {
        self.tried_at.elapsed() >= REFUSAL_RETENTION
    }
}

impl Refusals {
    /// Records a refusal. Returns whether its cause or the unit's file is new.
    pub fn record(&mut self, name: &UnitName, hash: UnitHash, refusal: Refusal) -> bool {
        let before = self.0.get(name).filter(|before| before.hash == hash);
        let same = before.is_some_and(|before| before.refusal == refusal);
        let backoff = match before {
            Some(before) if refusal.lasts() => (before.backoff * 2).min(MAX_REFUSAL_BACKOFF),
            _ => REFUSAL_BACKOFF,
        };
        self.0.insert(name.clone(), Refused { hash, refusal, tried_at: Instant::now(), backoff });
        !same
    }

    /// The refusal of this file.
    pub fn get(&self, name: &UnitName, hash: UnitHash) -> Option<&Refused> {
        self.0.get(name).filter(|refused| refused.hash == hash)
    }

    pub fn contains(&self, name: &UnitName) -> bool {
        self.0.contains_key(name)
    }

    /// Makes the next pass try again.
    pub fn reset_backoff(&mut self, name: &UnitName) {
        if let Some(refused) = self.0.get_mut(name) {
            refused.backoff = Duration::ZERO;
        }
    }

    pub fn remove(&mut self, name: &UnitName) {
        self.0.remove(name);
    }

    pub fn all(&self) -> BTreeMap<UnitName, Refused> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fleet_core::{RefusalScope, RefusedStep};
    use tokio::time::advance;
    use unit_file::UnitFile;

    use super::*;

    fn refusal(scope: RefusalScope, cause: &str) -> Refusal {
        Refusal { cause: cause.into(), scope, step: RefusedStep::Load }
    }

    fn hash(text: &str) -> UnitHash {
        UnitFile::from_text(&format!("[Service]\nExecStart={text}\n")).unwrap().hash()
    }

    /// Attempts within an hour.
    async fn tries(scope: RefusalScope) -> usize {
        let (mut refusals, name) = (Refusals::default(), UnitName::parse("a.service").unwrap());
        let mut tries = 0;
        for _ in 0..3600 {
            if refusals.get(&name, hash("/a")).is_none_or(Refused::is_due) {
                refusals.record(&name, hash("/a"), refusal(scope, "no"));
                tries += 1;
            }
            advance(Duration::from_secs(1)).await;
        }
        tries
    }

    #[tokio::test(start_paused = true)]
    async fn lasting_refusals_back_off() {
        assert_eq!(tries(RefusalScope::Temporary).await, 1200);
        for lasting in [RefusalScope::Unit, RefusalScope::Machine] {
            let tries = tries(lasting).await;
            assert!((15..=20).contains(&tries), "{tries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_cause_or_file_counts_as_new() {
        let (mut refusals, name) = (Refusals::default(), UnitName::parse("a.service").unwrap());
        let no = || refusal(RefusalScope::Unit, "no");
        assert!(refusals.record(&name, hash("/a"), no()));
        assert!(!refusals.record(&name, hash("/a"), no()));
        assert!(refusals.record(&name, hash("/a"), refusal(RefusalScope::Unit, "never")));
        assert!(refusals.record(&name, hash("/b"), no()));
        assert_eq!(refusals.get(&name, hash("/a")), None);
        assert!(!refusals.get(&name, hash("/b")).unwrap().is_due());
        refusals.reset_backoff(&name);
        assert!(refusals.get(&name, hash("/b")).unwrap().is_due());
    }
}
