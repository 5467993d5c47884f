//! Pending changes by subscriber. Each unit is pending once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use unit_file::UnitName;

use crate::limits::MAX_PENDING_UNITS;
use crate::state::SystemdState;

/// Why a unit may have another state than reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PendingChange {
    /// systemd has loaded the unit, which any query does, too.
    New,
    /// systemd has unloaded the unit, as it does with inactive units that nothing needs.
    Removed,
    Changed,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    Resync,
    Units(Vec<(UnitName, PendingChange)>),
}

#[derive(Default)]
struct State {
    resync: bool,
    units: BTreeMap<UnitName, PendingChange>,
    /// States reported since the last resync.
    last_reported: BTreeMap<UnitName, SystemdState>,
}

/// Of one subscriber.
#[derive(Default)]
pub(crate) struct Watcher {
    state: Mutex<State>,
    notify: Notify,
}

impl Watcher {
    fn mark(&self, name: &UnitName, change: PendingChange) {
        let mut state = self.state.lock();
        if state.resync {
            return;
        }
        let merged = match (state.units.get(name), change) {
            // Loaded only for a query.
            (Some(PendingChange::New), PendingChange::Removed) => {
                state.units.remove(name);
                return;
            }
            (Some(PendingChange::Changed), _) | (Some(PendingChange::Removed), PendingChange::New) => {
                PendingChange::Changed
            }
            _ => change,
        };
        state.units.insert(name.clone(), merged);
        if state.units.len() > MAX_PENDING_UNITS {
            state.units.clear();
            state.resync = true;
        }
        self.notify.notify_one();
    }

    pub fn request_resync(&self) {
        let mut state = self.state.lock();
        state.units.clear();
        state.resync = true;
        self.notify.notify_one();
    }

    fn forget(&self, name: &UnitName) {
        let mut state = self.state.lock();
        state.units.remove(name);
        state.last_reported.remove(name);
    }

    /// Waits for a pending change.
    pub async fn wait(&self) {
        loop {
            {
                let state = self.state.lock();
                if state.resync || !state.units.is_empty() {
                    return;
                }
            }
            self.notify.notified().await;
        }
    }

    /// At most `limit` units, by name.
    pub fn take_batch(&self, limit: usize) -> Batch {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.resync) {
            state.last_reported.clear();
            return Batch::Resync;
        }
        let units = std::iter::from_fn(|| state.units.pop_first()).take(limit).collect();
        Batch::Units(units)
    }

    /// Whether the last reported state equals that of an unloaded unit.
    pub fn was_inactive(&self, name: &UnitName) -> bool {
        self.state
            .lock()
            .last_reported
            .get(name)
            .is_some_and(|last_reported| last_reported.active == "inactive")
    }

    /// Returns whether the state differs from the last reported one.
    pub fn record_if_changed(&self, name: &UnitName, now: &SystemdState) -> bool {
        let last_reported = &mut self.state.lock().last_reported;
        if last_reported.get(name) == Some(now) {
            return false;
        }
        last_reported.insert(name.clone(), now.clone());
        true
    }
}

/// All current subscribers.
#[derive(Default)]
pub(crate) struct Watchers {
    all: Mutex<Vec<Weak<Watcher>>>,
    /// Units that are down and being removed. Their changes are not reported.
    being_removed: Mutex<BTreeSet<UnitName>>,
}

impl Watchers {
    /// The watcher starts with a resync.
    pub fn add(&self) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher::default());
        watcher.request_resync();
        let mut all = self.all.lock();
        all.retain(|watcher| watcher.strong_count() > 0);
        all.push(Arc::downgrade(&watcher));
        watcher
    }

    fn each(&self, work: impl Fn(&Watcher)) {
        let all: Vec<_> = self.all.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|watcher| work(watcher));
    }

    pub fn mark(&self, name: &UnitName, change: PendingChange) {
        self.each(|watcher| watcher.mark(name, change));
    }

    pub fn request_resync(&self) {
        self.each(Watcher::request_resync);
    }

    pub fn begin_removal(&self, name: &UnitName) {
        self.being_removed.lock().insert(name.clone());
        self.each(|watcher| watcher.forget(name));
    }

    /// The removal has finished or failed.
    pub fn end_removal(&self, name: &UnitName, file_remains: bool) {
        self.being_removed.lock().remove(name);
        if file_remains {
            self.mark(name, PendingChange::Changed);
        }
    }

    pub fn is_being_removed(&self, name: &UnitName) -> bool {
        self.being_removed.lock().contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    /// The pending change after these changes of one unit.
    fn check(change: &[PendingChange], expected: Option<PendingChange>) {
        let watcher = Watcher::default();
        change.iter().for_each(|change| watcher.mark(&name("a.service"), *change));
        let units = expected.map(|change| (name("a.service"), change)).into_iter().collect();
        assert_eq!(watcher.take_batch(9), Batch::Units(units), "{change:?}");
    }

    #[test]
    fn changes_of_one_unit_merge() {
        use PendingChange::{Changed, New, Removed};
        check(&[], None);
        check(&[Changed, Changed], Some(Changed));
        check(&[New, Removed], None);
        check(&[New, Removed, New], Some(New));
        check(&[Removed, New], Some(Changed));
        check(&[New, Changed, Removed], Some(Changed));
        check(&[Removed], Some(Removed));
        check(&[New], Some(New));
    }

    #[test]
    fn overflow_requests_a_resync() {
        let watcher = Watcher::default();
        for number in 0..=MAX_PENDING_UNITS {
            watcher.mark(&name(&format!("a{number}.service")), PendingChange::Changed);
        }
        assert_eq!(watcher.take_batch(9), Batch::Resync);
        watcher.mark(&name("b.service"), PendingChange::Removed);
        watcher.mark(&name("c.service"), PendingChange::Removed);
        assert_eq!(watcher.take_batch(1), Batch::Units(vec![(name("b.service"), PendingChange::Removed)]));
        assert_eq!(watcher.take_batch(1), Batch::Units(vec![(name("c.service"), PendingChange::Removed)]));
    }

    #[test]
    fn a_state_is_reported_once_until_a_resync() {
        let [load, active, sub] = ["loaded", "inactive", "dead"].map(str::to_owned);
        let state = SystemdState { load, active, sub };
        let watchers = Watchers::default();
        let watcher = watchers.add();
        let unit = name("a.service");
        let after = |what: &dyn Fn()| {
            what();
            let was_inactive = watcher.was_inactive(&unit);
            (was_inactive, watcher.record_if_changed(&unit, &state))
        };
        assert_eq!(after(&|| {}), (false, true));
        assert_eq!(after(&|| {}), (true, false));
        assert_eq!(after(&|| assert_eq!(watcher.take_batch(1), Batch::Resync)), (false, true));
        assert_eq!(after(&|| watchers.begin_removal(&unit)), (false, true));
    }
}
