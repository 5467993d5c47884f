//! Carries out what belongs on this machine.
//!
//! A pass compares what is wanted with what is there and does the difference. What takes long, stopping above all,
//! goes on beside it: such a unit is left alone by passes until it is done.

mod fenced;
mod pass;
mod purge;
mod refusals;
mod refuse;
mod there;

use std::sync::Arc;

use fleet_core::JobState;
use fleet_core::registry::{Key, Subject, UnitState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use unit_file::{UnitHash, UnitName};

use crate::contact::Contact;
use crate::hands::{Hands, HandsChange, SystemdState};
use crate::known::{Known, News};
use crate::limits::{AGENT_INTERVAL, POLL_INTERVAL, TOGETHER};
use crate::metrics::Metrics;
use crate::presence::is_anothers;
use crate::settings::Settings;
use crate::store::Store;
use crate::words::Words;

pub use fenced::Fenced;
pub use there::{RememberUnits, There};

/// So begin the states of a unit that has ended and that systemd starts again.
const AUTO_RESTART: &str = "auto-restart";

/// What all parts of the agent share. Cheap to clone.
pub struct Agent<S, H> {
    pub store: S,
    pub hands: H,
    pub words: Words,
    pub settings: Arc<Settings>,
    pub known: Arc<Known>,
    pub contact: Arc<Contact>,
    pub there: Arc<There>,
    pub metrics: Arc<Metrics>,
}

impl<S: Clone, H: Clone> Clone for Agent<S, H> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            hands: self.hands.clone(),
            words: self.words.clone(),
            settings: self.settings.clone(),
            known: self.known.clone(),
            contact: self.contact.clone(),
            there: self.there.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

impl<S: Store, H: Hands> Agent<S, H> {
    pub fn fenced(&self) -> Fenced<H> {
        let (hands, there) = (self.hands.clone(), self.there.clone());
        Fenced { hands, there, known: self.known.clone(), contact: self.contact.clone() }
    }

    /// Takes over the units that are there. Then follows the cluster, forever.
    pub async fn run(self) {
        let mut changes = self.hands.changes();
        self.there.adopt_all(&self.hands, &self.settings).await;
        let mut news = self.known.follow();
        let mut standing = self.contact.follow();
        let mut tick = interval(AGENT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Tasks that take long; each ends with a wish for another pass.
        let mut beside = JoinSet::new();
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                what = news.next() => if self.concerns_me(&what).await { due.get_or_insert(Instant::now() + TOGETHER); },
                Some(_) = beside.join_next() => { due.get_or_insert(Instant::now() + TOGETHER); }
                _ = tick.tick() => due = Some(Instant::now()),
                _ = poll.tick() => self.ask_for_all_states().await,
                changed = standing.changed() => if changed.is_ok() {
                    due.get_or_insert(Instant::now() + TOGETHER);
                },
                change = next_of(&mut changes) => match change {
                    HandsChange::State(name, state) => self.tell(&name, &state),
                    HandsChange::Everything => self.ask_for_all_states().await,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    if self.known.is_there() && !is_anothers(&self.settings, &self.known) {
                        self.pass(&mut beside).await;
                        self.there.remember();
                    }
                }
            }
        }
    }

    /// Whether a pass could have anything to do. A unit that is asked for once more is started again here, where
    /// it has failed.
    async fn concerns_me(&self, news: &News) -> bool {
        let News::Changed { subjects, again } = news else { return true };
        if let Some(name) = again
            && self.there.has(name)
        {
            self.there.refusals(|refusals| refusals.try_now(name));
            self.start_again(name).await;
        }
        let me = &self.settings.me;
        subjects.iter().any(|subject| match subject {
            Subject::Machine(id) => id == me,
            Subject::Unit(name) => {
                self.there.has(name)
                    || self.known.look(|view| {
                        view.unit(name)
                            .is_some_and(|unit| unit.wanted.global || unit.target.as_ref() == Some(me))
                    })
            }
            // A unit that is handed over waits for the other machine's word. A global one runs on all of them.
            Subject::State(name, id) => id != me && self.there.is_there(name) && !self.is_global(name),
            Subject::Lease | Subject::EngineVersion => false,
        })
    }

    /// The next pass does it, and where it cannot, one after it.
    async fn start_again(&self, name: &UnitName) {
        let states = self.hands.states(std::slice::from_ref(name)).await;
        // Where that is not known, a start is harmless: what runs runs on.
        let failed = states.map_or(true, |of| of.get(name).is_some_and(|state| state.active == "failed"));
        if failed && self.there.state(name) == Some(JobState::Launched) {
            self.there.set_state(name, JobState::Loaded);
        }
    }

    async fn ask_for_all_states(&self) {
        let names = self.there.names();
        if names.is_empty() {
            return;
        }
        match self.hands.states(&names.into_iter().collect::<Vec<_>>()).await {
            Ok(states) => states.iter().for_each(|(name, state)| self.tell(name, state)),
            Err(error) => tracing::warn!("asking systemd for the states of units: {error}"),
        }
    }

    /// Publishes what systemd says of a unit that is here.
    fn tell(&self, name: &UnitName, state: &SystemdState) {
        if let Some(hash) = self.there.hash(name) {
            let (key, value) = (self.state_key(name), self.state_value(name, state, hash));
            match state.active.as_str() {
                // What failed and is started again and again is never active for long, nor anything else.
                "activating" if !state.sub.starts_with(AUTO_RESTART) => {
                    self.words.say_if_it_lasts(key, value);
                }
                _ => self.words.say(key, value),
            }
        }
    }

    fn state_key(&self, name: &UnitName) -> Key {
        Key::State(name.clone(), self.settings.me.clone())
    }

    fn state_value(&self, name: &UnitName, state: &SystemdState, hash: UnitHash) -> String {
        let SystemdState { load, active, sub } = state.clone();
        let refusal = self.refusal(name, hash);
        UnitState { load, active, sub, machine: self.settings.me.clone(), hash, refusal }.encode()
    }
}

async fn next_of(changes: &mut mpsc::Receiver<HandsChange>) -> HandsChange {
    match changes.recv().await {
        Some(change) => change,
        // What follows systemd has ended: what is asked for from time to time is left.
        None => std::future::pending().await,
    }
}
