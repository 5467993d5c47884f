//! What the store says, as far as this node has followed it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_core::JobState;
use fleet_core::registry::{Key, Subject, View};
use fleet_core::schedule::Scheduler;
use tokio::sync::{broadcast, watch};
use unit_file::UnitName;

use crate::limits::{EVENT_BUFFER, MAX_PENDING};
use crate::store::{Change, Snapshot};

/// One for a node: the watch feeds it, everybody else reads.
pub struct RegistryCache {
    state: Mutex<State>,
    /// Up to where the store's history is in the view; 0 before the first reading.
    index: watch::Sender<u64>,
    events: broadcast::Sender<RegistryEvent>,
}

#[derive(Default)]
struct State {
    view: View,
    /// For questions; made when the first one is asked.
    scheduler: Option<Scheduler>,
    /// What it has not been told yet.
    pending: Vec<Subject>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEvent {
    Changed {
        subjects: Arc<[Subject]>,
        /// A unit that was asked for once more, although it was launched already.
        relaunched: Option<UnitName>,
    },
    /// Anything may have.
    Resync,
}

/// Hears of all changes, or that it has missed some.
pub struct Subscription(broadcast::Receiver<RegistryEvent>);

impl Subscription {
    pub async fn next(&mut self) -> RegistryEvent {
        match self.0.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.0 = self.0.resubscribe();
                RegistryEvent::Resync
            }
            // The sender lives as long as what is followed: nothing more comes.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Default for RegistryCache {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            index: watch::Sender::new(0),
            events: broadcast::Sender::new(EVENT_BUFFER),
        }
    }
}

impl RegistryCache {
    fn state(&self) -> MutexGuard<'_, State> {
        // invariant: nothing that is done under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn with_view<R>(&self, read: impl FnOnce(&View) -> R) -> R {
        read(&self.state().view)
    }

    /// Also with what the scheduler says, every machine without presence taken for dead.
    pub fn with_scheduler<R>(&self, read: impl FnOnce(&View, &Scheduler) -> R) -> R {
        let mut state = self.state();
        let State { view, scheduler, pending } = &mut *state;
        let scheduler = scheduler.get_or_insert_with(|| {
            pending.clear();
            fleet_core::responses::scheduler(view)
        });
        for subject in pending.drain(..) {
            view.update_scheduler(&subject, &BTreeMap::new(), scheduler);
        }
        read(view, scheduler)
    }

    pub fn subscribe(&self) -> Subscription {
        Subscription(self.events.subscribe())
    }

    /// Whether anything was read yet.
    pub fn is_synced(&self) -> bool {
        *self.index.borrow() > 0
    }

    pub fn index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Waits until what happened up to `index` is known.
    pub async fn wait_for_index(&self, index: u64) {
        // The sender is a field of `self`.
        let waited = self.index.subscribe().wait_for(|applied| *applied >= index).await.map(drop);
        debug_assert!(waited.is_ok());
    }

    /// Takes in everything. What cannot be read is told, and as good as absent.
    pub fn replace(&self, snapshot: &Snapshot) {
        let pairs = snapshot.pairs.iter().map(|(path, value)| (path.as_str(), value.as_str()));
        let (view, errors) = View::read(pairs);
        for error in errors {
            tracing::warn!("{error}");
        }
        let differs = {
            let mut state = self.state();
            let differs = state.view != view;
            if differs {
                *state = State { view, ..State::default() };
            }
            differs
        };
        // Lower than before where the store was restored from a backup. An index of 0, of a store that nobody wrote to,
        // would mean that nothing was read yet.
        self.advance(snapshot.index.max(1), differs.then_some(RegistryEvent::Resync));
    }

    /// Takes in one change.
    pub fn apply(&self, change: &Change) {
        let mut relaunched = None;
        let subjects: Arc<[Subject]> = {
            let mut state = self.state();
            let subjects = match &change.value {
                Some(value) => {
                    relaunched = relaunch_requested(&state.view, &change.path, value);
                    state.view.put(&change.path, value).unwrap_or_else(|error| {
                        tracing::warn!("{error}");
                        state.view.delete(&change.path)
                    })
                }
                None => state.view.delete(&change.path),
            };
            if state.scheduler.is_some() {
                state.pending.extend(subjects.iter().cloned());
                if state.pending.len() > MAX_PENDING {
                    state.scheduler = None;
                    state.pending.clear();
                }
            }
            subjects.into()
        };
        let event = (!subjects.is_empty()).then_some(RegistryEvent::Changed { subjects, relaunched });
        self.advance(change.index, event);
    }

    fn advance(&self, index: u64, event: Option<RegistryEvent>) {
        self.index.send_replace(index);
        if let Some(event) = event {
            // Nobody listens before the node's parts are there.
            let _subscribers = self.events.send(event).unwrap_or(0);
        }
    }
}

fn relaunch_requested(view: &View, path: &str, value: &str) -> Option<UnitName> {
    let Some(Key::TargetState(name)) = Key::parse(path) else { return None };
    let launched = value.parse() == Ok(JobState::Launched);
    let before = view.unit(&name)?.desired;
    (launched && before == JobState::Launched).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a machine would hold a unit without having seen who took it.
    #[tokio::test]
    async fn a_restored_store_resets_the_index() {
        let cache = RegistryCache::default();
        cache.replace(&Snapshot { pairs: Vec::new(), index: 1000 });
        cache.replace(&Snapshot { pairs: Vec::new(), index: 40 });
        assert_eq!(cache.index(), 40);
        let soon = std::time::Duration::from_millis(20);
        assert!(
            tokio::time::timeout(soon, cache.wait_for_index(41)).await.is_err(),
            "41 was not written yet"
        );
        cache.apply(&Change { index: 41, path: "none".into(), value: None });
        cache.wait_for_index(41).await;
    }
}
