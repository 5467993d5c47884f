//! What the store says, as far as this node has followed it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fleet_core::JobState;
use fleet_core::registry::{Key, Subject, View};
use fleet_core::schedule::Scheduler;
use tokio::sync::{broadcast, watch};
use unit_file::UnitName;

use crate::limits::{NEWS, PENDING};
use crate::store::{Change, Reading};

/// One for a node: the watch feeds it, everybody else reads.
pub struct Known {
    state: Mutex<State>,
    /// Up to where the store's history is in the view; 0 before the first reading.
    index: watch::Sender<u64>,
    news: broadcast::Sender<News>,
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
pub enum News {
    Changed {
        subjects: Arc<[Subject]>,
        /// A unit that was asked for once more, although it was launched already.
        again: Option<UnitName>,
    },
    /// Anything may have.
    Everything,
}

/// Hears of all changes, or that it has missed some.
pub struct Follower(broadcast::Receiver<News>);

impl Follower {
    pub async fn next(&mut self) -> News {
        match self.0.recv().await {
            Ok(news) => news,
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.0 = self.0.resubscribe();
                News::Everything
            }
            // The sender lives as long as what is followed: nothing more comes.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self { state: Mutex::default(), index: watch::Sender::new(0), news: broadcast::Sender::new(NEWS) }
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        // invariant: nothing that is done under this lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn look<R>(&self, look: impl FnOnce(&View) -> R) -> R {
        look(&self.state().view)
    }

    /// Also with what the scheduler says, every machine without presence taken for dead.
    pub fn look_and_ask<R>(&self, look: impl FnOnce(&View, &Scheduler) -> R) -> R {
        let mut state = self.state();
        let State { view, scheduler, pending } = &mut *state;
        let scheduler = scheduler.get_or_insert_with(|| {
            pending.clear();
            fleet_core::responses::scheduler(view)
        });
        for subject in pending.drain(..) {
            view.feed(&subject, &BTreeMap::new(), scheduler);
        }
        look(view, scheduler)
    }

    pub fn follow(&self) -> Follower {
        Follower(self.news.subscribe())
    }

    /// Whether anything was read yet.
    pub fn is_there(&self) -> bool {
        *self.index.borrow() > 0
    }

    pub fn index(&self) -> u64 {
        *self.index.borrow()
    }

    /// Waits until what happened up to `index` is known.
    pub async fn reached(&self, index: u64) {
        // The sender is this very value: it does not go away meanwhile.
        let waited = self.index.subscribe().wait_for(|known| *known >= index).await.map(drop);
        debug_assert!(waited.is_ok());
    }

    /// Takes in everything. What cannot be read is told, and as good as absent.
    pub fn replace(&self, reading: &Reading) {
        let pairs = reading.pairs.iter().map(|(path, value)| (path.as_str(), value.as_str()));
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
        self.arrive(reading.index.max(1), differs.then_some(News::Everything));
    }

    /// Takes in one change.
    pub fn apply(&self, change: &Change) {
        let mut again = None;
        let subjects: Arc<[Subject]> = {
            let mut state = self.state();
            let subjects = match &change.value {
                Some(value) => {
                    again = asked_again(&state.view, &change.path, value);
                    state.view.put(&change.path, value).unwrap_or_else(|error| {
                        tracing::warn!("{error}");
                        state.view.delete(&change.path)
                    })
                }
                None => state.view.delete(&change.path),
            };
            if state.scheduler.is_some() {
                state.pending.extend(subjects.iter().cloned());
                if state.pending.len() > PENDING {
                    state.scheduler = None;
                    state.pending.clear();
                }
            }
            subjects.into()
        };
        let news = (!subjects.is_empty()).then_some(News::Changed { subjects, again });
        self.arrive(change.index, news);
    }

    fn arrive(&self, index: u64, news: Option<News>) {
        self.index.send_replace(index);
        if let Some(news) = news {
            // Nobody listens before the node's parts are there.
            let _listeners = self.news.send(news).unwrap_or(0);
        }
    }
}

fn asked_again(view: &View, path: &str, value: &str) -> Option<UnitName> {
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
    async fn a_restored_store_has_reached_no_more_than_what_was_read() {
        let known = Known::default();
        known.replace(&Reading { pairs: Vec::new(), index: 1000 });
        known.replace(&Reading { pairs: Vec::new(), index: 40 });
        assert_eq!(known.index(), 40);
        let soon = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, known.reached(41)).await.is_err(), "41 was not written yet");
        known.apply(&Change { index: 41, path: "none".into(), value: None });
        known.reached(41).await;
    }
}
