//! This node's view of the registry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_core::JobState;
use fleet_core::registry::{Key, Subject, View};
use fleet_core::schedule::Scheduler;
use tokio::sync::{broadcast, watch};
use unit_file::UnitName;

use crate::limits::{EVENT_BUFFER, MAX_PENDING};
use crate::store::{Change, Snapshot};

/// One per node: `registry_sync` updates it, all other parts read.
pub struct RegistryCache {
    state: Mutex<State>,
    /// Store index of the view; 0 before the first sync.
    index: watch::Sender<u64>,
    events: broadcast::Sender<RegistryEvent>,
}

#[derive(Default)]
struct State {
    view: View,
    /// For queries. Created on demand.
    scheduler: Option<Scheduler>,
    /// Changes that the scheduler does not have yet.
    pending: Vec<Subject>,
}

/// A change of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEvent {
    Changed {
        subjects: Arc<[Subject]>,
        /// A unit with a repeated launch request.
        relaunched: Option<UnitName>,
    },
    /// Anything may have changed.
    Resync,
}

/// Receives all events, or [`RegistryEvent::Resync`] if it lags.
pub struct Subscription(broadcast::Receiver<RegistryEvent>);

impl Subscription {
    pub async fn next(&mut self) -> RegistryEvent {
        match self.0.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.0 = self.0.resubscribe();
                RegistryEvent::Resync
            }
            // The cache is gone: there are no more events.
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
        // invariant: nothing under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn with_view<R>(&self, read: impl FnOnce(&View) -> R) -> R {
        read(&self.state().view)
    }

    /// Also passes a scheduler in which every machine without a presence has failed.
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

    /// Whether the registry was read at least once.
    pub fn is_synced(&self) -> bool {
        *self.index.borrow() > 0
    }

    pub fn index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Waits until the view has reached `index`.
    pub async fn wait_for_index(&self, index: u64) {
        // The sender is a field of `self`.
        let waited = self.index.subscribe().wait_for(|applied| *applied >= index).await.map(drop);
        debug_assert!(waited.is_ok());
    }

    /// Replaces the view. Invalid values are logged and treated as missing.
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
        // The index may decrease after a restore from a backup. 0, of an empty store, would mean that nothing was
        // read.
        self.advance(snapshot.index.max(1), differs.then_some(RegistryEvent::Resync));
    }

    /// Applies one change.
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
            // There may be no subscriber yet.
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

    /// Otherwise a machine would claim a unit without having observed who took it.
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
