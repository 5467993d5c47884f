//! What this machine says of units that it cannot load or start, and for how long.

use std::collections::BTreeMap;

use fleet_core::agent::{DesiredUnit, Task};
use fleet_core::registry::{Key, UnitState};
use fleet_core::{Refusal, RefusedStep};
use unit_file::{UnitHash, UnitName};

use crate::agent::Agent;
use crate::store::Store;
use crate::unit_manager::{SystemdState, UnitManager, UnitManagerError};

impl<S: Store, H: UnitManager> Agent<S, H> {
    /// Says why the unit is not loaded. The claim to launch it must have been said before.
    pub(super) fn report_load_failure(
        &self,
        name: &UnitName,
        hash: UnitHash,
        task: &Task,
        error: &UnitManagerError,
    ) {
        if self.record_refusal(name, hash, RefusedStep::Load, error) {
            tracing::error!("Failed to load Unit({name}): {error}");
        }
        self.metrics.failed(task);
        let state = SystemdState { load: error.load.into(), active: "inactive".into(), sub: "dead".into() };
        self.publisher.publish(self.state_key(name), self.state_value(name, &state, hash));
        drop(self.publisher.withdraw(Key::JobState(name.clone())));
    }

    /// Says why the unit, which is loaded, is not started.
    pub(super) async fn report_start_failure(&self, name: &UnitName, error: &UnitManagerError) {
        let Some(hash) = self.local_units.hash(name) else { return };
        if self.record_refusal(name, hash, RefusedStep::Start, error) {
            tracing::error!("Failed to start Unit({name}): {error}");
        }
        let state = self.current_state(name).await;
        self.publisher.publish(self.state_key(name), self.state_value(name, &state, hash));
    }

    /// Whether that is news.
    fn record_refusal(
        &self,
        name: &UnitName,
        hash: UnitHash,
        step: RefusedStep,
        error: &UnitManagerError,
    ) -> bool {
        let refusal = Refusal { cause: error.text.clone(), scope: error.scope, step };
        self.local_units.with_refusals(|refusals| refusals.record(name, hash, refusal))
    }

    pub(super) fn refusal(&self, name: &UnitName, hash: UnitHash) -> Option<Refusal> {
        self.local_units.with_refusals(|refusals| Some(refusals.get(name, hash)?.refusal.clone()))
    }

    /// The unit was loaded, or started: whatever was in the way of that is no more.
    pub(super) fn clear_refusal(&self, name: &UnitName, hash: UnitHash, step: RefusedStep) {
        if self.refusal(name, hash).is_some_and(|refusal| refusal.step == step) {
            self.local_units.with_refusals(|refusals| refusals.remove(name));
        }
    }

    /// Takes back what is not true any more: the unit has another text, is not asked for, or went elsewhere so long
    /// ago that it may be tried here anew.
    pub(super) fn withdraw_refusals(&self, desired: &BTreeMap<UnitName, DesiredUnit>) {
        for (name, refused) in self.local_units.with_refusals(|refusals| refusals.all()) {
            let here = desired.get(&name).is_some_and(|desired| desired.hash == refused.hash);
            let elsewhere = || {
                self.registry.with_view(|view| {
                    view.hash(&name) == Some(refused.hash)
                        && view.unit(&name).is_some_and(|unit| unit.is_desired())
                })
            };
            if here || !refused.is_expired() && elsewhere() {
                continue;
            }
            self.local_units.with_refusals(|refusals| refusals.remove(&name));
            if !self.local_units.contains(&name) {
                // Not waited for: nobody depends on it.
                drop(self.publisher.withdraw(self.state_key(&name)));
            }
        }
    }

    /// The unit is gone from this machine. Where it was refused and may run elsewhere, that is what is left to be
    /// said: it would come back otherwise. Returns when the store has the rest no more.
    pub(super) async fn withdraw_unit(&self, name: &UnitName, hash: UnitHash) {
        let refusal = self.refusal(name, hash);
        let is_desired = self.registry.with_view(|view| {
            view.hash(name) == Some(hash) && view.unit(name).is_some_and(|unit| unit.is_desired())
        });
        let Some(refusal) = refusal.filter(|_| is_desired) else {
            self.local_units.with_refusals(|refusals| refusals.remove(name));
            return self.withdraw_keys(name).await;
        };
        self.publisher.withdraw(Key::JobState(name.clone())).await.unwrap_or(());
        let state = UnitState::not_here(self.settings.machine_id.clone(), hash, refusal);
        // Whether the speaker still speaks: where it does not, nothing is said any more either.
        self.publisher.publish_and_wait(self.state_key(name), state.encode()).await;
    }
}
