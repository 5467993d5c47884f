//! Which units this machine could not load or start, why, and when they are tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::Refusal;
use tokio::time::Instant;
use unit_file::{UnitHash, UnitName};

use crate::limits::{REFUSAL_KEPT, REFUSED_FOR, REFUSED_FOR_LONGEST};

/// By unit, of its latest text.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<UnitName, Refused>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub hash: UnitHash,
    pub refusal: Refusal,
    tried: Instant,
    /// From one try to the next.
    pause: Duration,
}

impl Refused {
    pub fn is_due(&self) -> bool {
        self.tried.elapsed() >= self.pause
    }

    /// Whether the machine may be asked anew, although the unit does not belong here any more.
    pub fn is_old(&self) -> bool {
        self.tried.elapsed() >= REFUSAL_KEPT
    }
}

impl Refusals {
    /// The machine has just refused the unit. Whether that is news: another cause, or another text.
    pub fn refused(&mut self, name: &UnitName, hash: UnitHash, refusal: Refusal) -> bool {
        let before = self.0.get(name).filter(|before| before.hash == hash);
        let same = before.is_some_and(|before| before.refusal == refusal);
        let pause = match before {
            Some(before) if refusal.lasts() => (before.pause * 2).min(REFUSED_FOR_LONGEST),
            _ => REFUSED_FOR,
        };
        self.0.insert(name.clone(), Refused { hash, refusal, tried: Instant::now(), pause });
        !same
    }

    /// Of that text.
    pub fn of(&self, name: &UnitName, hash: UnitHash) -> Option<&Refused> {
        self.0.get(name).filter(|refused| refused.hash == hash)
    }

    pub fn has(&self, name: &UnitName) -> bool {
        self.0.contains_key(name)
    }

    /// The next pass tries it.
    pub fn try_now(&mut self, name: &UnitName) {
        if let Some(refused) = self.0.get_mut(name) {
            refused.pause = Duration::ZERO;
        }
    }

    pub fn forget(&mut self, name: &UnitName) {
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

    /// The tries that an hour has.
    async fn tries(scope: RefusalScope) -> usize {
        let (mut refusals, name) = (Refusals::default(), UnitName::parse("a.service").unwrap());
        let mut tries = 0;
        for _ in 0..3600 {
            if refusals.of(&name, hash("/a")).is_none_or(Refused::is_due) {
                refusals.refused(&name, hash("/a"), refusal(scope, "no"));
                tries += 1;
            }
            advance(Duration::from_secs(1)).await;
        }
        tries
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_tried_less_and_less_often() {
        assert_eq!(tries(RefusalScope::Temporary).await, 1200);
        for lasting in [RefusalScope::Unit, RefusalScope::Machine] {
            let tries = tries(lasting).await;
            assert!((15..=20).contains(&tries), "{tries}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_cause_or_text_is_news() {
        let (mut refusals, name) = (Refusals::default(), UnitName::parse("a.service").unwrap());
        let no = || refusal(RefusalScope::Unit, "no");
        assert!(refusals.refused(&name, hash("/a"), no()));
        assert!(!refusals.refused(&name, hash("/a"), no()));
        assert!(refusals.refused(&name, hash("/a"), refusal(RefusalScope::Unit, "never")));
        assert!(refusals.refused(&name, hash("/b"), no()));
        assert_eq!(refusals.of(&name, hash("/a")), None);
        assert!(!refusals.of(&name, hash("/b")).unwrap().is_due());
        refusals.try_now(&name);
        assert!(refusals.of(&name, hash("/b")).unwrap().is_due());
    }
}
