//! What is new for those who read changes: a set per reader, in which each unit stands once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use unit_file::UnitName;

use crate::limits::NEWS;
use crate::state::SystemdState;

/// Why a unit may have another state than its reader was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// systemd has taken it into its memory, which any question about it does, too.
    Appeared,
    /// systemd has forgotten it, as it does with what is down and not needed.
    Gone,
    Changed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    Everything,
    Units(Vec<(UnitName, News)>),
}

#[derive(Default)]
struct State {
    everything: bool,
    units: BTreeMap<UnitName, News>,
    /// What the reader was told last, since it was told to ask for everything.
    told: BTreeMap<UnitName, SystemdState>,
}

/// One reader's.
#[derive(Default)]
pub(crate) struct Watcher {
    state: Mutex<State>,
    woken: Notify,
}

impl Watcher {
    fn mark(&self, name: &UnitName, news: News) {
        let mut state = self.state.lock();
        if state.everything {
            return;
        }
        let sum = match (state.units.get(name), news) {
            // It was not there, and is not: it was only asked about.
            (Some(News::Appeared), News::Gone) => {
                state.units.remove(name);
                return;
            }
            (Some(News::Changed), _) | (Some(News::Gone), News::Appeared) => News::Changed,
            _ => news,
        };
        state.units.insert(name.clone(), sum);
        if state.units.len() > NEWS {
            state.units.clear();
            state.everything = true;
        }
        self.woken.notify_one();
    }

    pub fn everything(&self) {
        let mut state = self.state.lock();
        state.units.clear();
        state.everything = true;
        self.woken.notify_one();
    }

    fn forget(&self, name: &UnitName) {
        let mut state = self.state.lock();
        state.units.remove(name);
        state.told.remove(name);
    }

    /// Until there is something new.
    pub async fn wait(&self) {
        loop {
            {
                let state = self.state.lock();
                if state.everything || !state.units.is_empty() {
                    return;
                }
            }
            self.woken.notified().await;
        }
    }

    /// At most `limit` units, by name.
    pub fn take(&self, limit: usize) -> Batch {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.everything) {
            state.told.clear();
            return Batch::Everything;
        }
        let units = std::iter::from_fn(|| state.units.pop_first()).take(limit).collect();
        Batch::Units(units)
    }

    /// Whether the unit was told to be as one is that systemd has forgotten.
    pub fn was_inactive(&self, name: &UnitName) -> bool {
        self.state.lock().told.get(name).is_some_and(|told| told.active == "inactive")
    }

    /// Whether that is not what was told last.
    pub fn is_new(&self, name: &UnitName, now: &SystemdState) -> bool {
        let told = &mut self.state.lock().told;
        if told.get(name) == Some(now) {
            return false;
        }
        told.insert(name.clone(), now.clone());
        true
    }
}

/// All readers' that are still there.
#[derive(Default)]
pub(crate) struct Watchers {
    all: Mutex<Vec<Weak<Watcher>>>,
    /// Units that are down and being removed. Nobody is told what systemd makes of their remains.
    leaving: Mutex<BTreeSet<UnitName>>,
}

impl Watchers {
    /// It begins with everything.
    pub fn add(&self) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher::default());
        watcher.everything();
        let mut all = self.all.lock();
        all.retain(|watcher| watcher.strong_count() > 0);
        all.push(Arc::downgrade(&watcher));
        watcher
    }

    fn each(&self, work: impl Fn(&Watcher)) {
        let all: Vec<_> = self.all.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|watcher| work(watcher));
    }

    pub fn mark(&self, name: &UnitName, news: News) {
        self.each(|watcher| watcher.mark(name, news));
    }

    pub fn everything(&self) {
        self.each(Watcher::everything);
    }

    pub fn leave(&self, name: &UnitName) {
        self.leaving.lock().insert(name.clone());
        self.each(|watcher| watcher.forget(name));
    }

    /// The unit is gone, or stays after all.
    pub fn left(&self, name: &UnitName, stays: bool) {
        self.leaving.lock().remove(name);
        if stays {
            self.mark(name, News::Changed);
        }
    }

    pub fn is_leaving(&self, name: &UnitName) -> bool {
        self.leaving.lock().contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    /// What stands there after these news of one unit.
    fn check(news: &[News], expected: Option<News>) {
        let watcher = Watcher::default();
        news.iter().for_each(|news| watcher.mark(&name("a.service"), *news));
        let units = expected.map(|news| (name("a.service"), news)).into_iter().collect();
        assert_eq!(watcher.take(9), Batch::Units(units), "{news:?}");
    }

    #[test]
    fn news_of_one_unit_are_one() {
        use News::{Appeared, Changed, Gone};
        check(&[], None);
        check(&[Changed, Changed], Some(Changed));
        check(&[Appeared, Gone], None);
        check(&[Appeared, Gone, Appeared], Some(Appeared));
        check(&[Gone, Appeared], Some(Changed));
        check(&[Appeared, Changed, Gone], Some(Changed));
        check(&[Gone], Some(Gone));
        check(&[Appeared], Some(Appeared));
    }

    #[test]
    fn a_set_has_a_limit_and_then_it_is_everything() {
        let watcher = Watcher::default();
        for number in 0..=NEWS {
            watcher.mark(&name(&format!("a{number}.service")), News::Changed);
        }
        assert_eq!(watcher.take(9), Batch::Everything);
        watcher.mark(&name("b.service"), News::Gone);
        watcher.mark(&name("c.service"), News::Gone);
        assert_eq!(watcher.take(1), Batch::Units(vec![(name("b.service"), News::Gone)]));
        assert_eq!(watcher.take(1), Batch::Units(vec![(name("c.service"), News::Gone)]));
    }

    #[test]
    fn a_state_is_told_once_until_everything_is_asked_anew() {
        let [load, active, sub] = ["loaded", "inactive", "dead"].map(str::to_owned);
        let state = SystemdState { load, active, sub };
        let watchers = Watchers::default();
        let watcher = watchers.add();
        let unit = name("a.service");
        let after = |what: &dyn Fn()| {
            what();
            let was_inactive = watcher.was_inactive(&unit);
            (was_inactive, watcher.is_new(&unit, &state))
        };
        assert_eq!(after(&|| {}), (false, true));
        assert_eq!(after(&|| {}), (true, false));
        assert_eq!(after(&|| assert_eq!(watcher.take(1), Batch::Everything)), (false, true));
        assert_eq!(after(&|| watchers.leave(&unit)), (false, true));
    }
}
