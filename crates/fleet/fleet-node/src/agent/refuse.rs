//! What this machine says of units that it cannot load or start, and for how long.

use std::collections::BTreeMap;

use fleet_core::agent::{Task, Wanted};
use fleet_core::registry::{Key, UnitState};
use fleet_core::{Refusal, RefusedStep};
use unit_file::{UnitHash, UnitName};

use crate::agent::Agent;
use crate::hands::{Hands, HandsError, SystemdState};
use crate::store::Store;

impl<S: Store, H: Hands> Agent<S, H> {
    /// Says why the unit is not loaded. The claim to launch it must have been said before.
    pub(super) fn refuse_load(&self, name: &UnitName, hash: UnitHash, task: &Task, error: &HandsError) {
        if self.refuse(name, hash, RefusedStep::Load, error) {
            tracing::error!("Failed to load Unit({name}): {error}");
        }
        self.metrics.failed(task);
        let state = SystemdState { load: error.load.into(), active: "inactive".into(), sub: "dead".into() };
        self.words.say(self.state_key(name), self.state_value(name, &state, hash));
        drop(self.words.take_back(Key::JobState(name.clone())));
    }

    /// Says why the unit, which is loaded, is not started.
    pub(super) async fn refuse_start(&self, name: &UnitName, error: &HandsError) {
        let Some(hash) = self.there.hash(name) else { return };
        if self.refuse(name, hash, RefusedStep::Start, error) {
            tracing::error!("Failed to start Unit({name}): {error}");
        }
        let state = self.state_now(name).await;
        self.words.say(self.state_key(name), self.state_value(name, &state, hash));
    }

    /// Whether that is news.
    fn refuse(&self, name: &UnitName, hash: UnitHash, step: RefusedStep, error: &HandsError) -> bool {
        let refusal = Refusal { cause: error.text.clone(), scope: error.scope, step };
        self.there.refusals(|refusals| refusals.refused(name, hash, refusal))
    }

    pub(super) fn refusal(&self, name: &UnitName, hash: UnitHash) -> Option<Refusal> {
        self.there.refusals(|refusals| Some(refusals.of(name, hash)?.refusal.clone()))
    }

    /// The unit was loaded, or started: whatever was in the way of that is no more.
    pub(super) fn accept(&self, name: &UnitName, hash: UnitHash, step: RefusedStep) {
        if self.refusal(name, hash).is_some_and(|refusal| refusal.step == step) {
            self.there.refusals(|refusals| refusals.forget(name));
        }
    }

    /// Takes back what is not true any more: the unit has another text, is not asked for, or went elsewhere so long
    /// ago that it may be tried here anew.
    pub(super) fn withdraw_refusals(&self, wanted: &BTreeMap<UnitName, Wanted>) {
        for (name, refused) in self.there.refusals(|refusals| refusals.all()) {
            let here = wanted.get(&name).is_some_and(|wanted| wanted.hash == refused.hash);
            let elsewhere = || {
                self.known.look(|view| {
                    view.hash(&name) == Some(refused.hash)
                        && view.unit(&name).is_some_and(|unit| unit.is_asked_for())
                })
            };
            if here || !refused.is_old() && elsewhere() {
                continue;
            }
            self.there.refusals(|refusals| refusals.forget(&name));
            if !self.there.is_there(&name) {
                // Not waited for: nobody depends on it.
                drop(self.words.take_back(self.state_key(&name)));
            }
        }
    }

    /// The unit is gone from this machine. Where it was refused and may run elsewhere, that is what is left to be
    /// said: it would come back otherwise. Returns when the store has the rest no more.
    pub(super) async fn leave(&self, name: &UnitName, hash: UnitHash) {
        let refusal = self.refusal(name, hash);
        let asked_for = self.known.look(|view| {
            view.hash(name) == Some(hash) && view.unit(name).is_some_and(|unit| unit.is_asked_for())
        });
        let Some(refusal) = refusal.filter(|_| asked_for) else {
            self.there.refusals(|refusals| refusals.forget(name));
            return self.take_back_words(name).await;
        };
        self.words.take_back(Key::JobState(name.clone())).await.unwrap_or(());
        let state = UnitState::not_here(self.settings.me.clone(), hash, refusal);
        // Whether the speaker still speaks: where it does not, nothing is said any more either.
        self.words.say_surely(self.state_key(name), state.encode()).await;
    }
}
