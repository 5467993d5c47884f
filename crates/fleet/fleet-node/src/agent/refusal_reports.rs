//! Publishes and withdraws refusals: units that this machine cannot load or start.

use std::collections::BTreeMap;

use fleet_core::agent::{DesiredUnit, Task};
use fleet_core::registry::{Key, UnitState};
use fleet_core::{Refusal, RefusedStep};
use unit_file::{UnitHash, UnitName};

use crate::agent::Agent;
use crate::store::Store;
use crate::unit_manager::{SystemdState, UnitManager, UnitManagerError};

impl<S: Store, H: UnitManager> Agent<S, H> {
    /// Publishes why the unit is not loaded, and withdraws its claim.
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

    /// Publishes why a loaded unit does not start.
    pub(super) async fn report_start_failure(&self, name: &UnitName, error: &UnitManagerError) {
        let Some(hash) = self.local_units.hash(name) else { return };
        if self.record_refusal(name, hash, RefusedStep::Start, error) {
            tracing::error!("Failed to start Unit({name}): {error}");
        }
        let state = self.current_state(name).await;
        self.publisher.publish(self.state_key(name), self.state_value(name, &state, hash));
    }

    /// Returns whether the refusal is new.
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

    /// Removes a refusal of this step after it succeeded.
    pub(super) fn clear_refusal(&self, name: &UnitName, hash: UnitHash, step: RefusedStep) {
        if self.refusal(name, hash).is_some_and(|refusal| refusal.step == step) {
            self.local_units.with_refusals(|refusals| refusals.remove(name));
        }
    }

    /// Removes obsolete refusals: the unit has another file, is not desired, or was moved long enough ago to be tried
    /// here again.
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
                // Not awaited: nothing depends on it.
                drop(self.publisher.withdraw(self.state_key(&name)));
            }
        }
    }

    /// Withdraws the keys of a removed unit. A refusal remains published if the unit is still desired, or the
    /// scheduler would assign it here again. Returns when the keys are written.
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
        let state = UnitState::refused_elsewhere(self.settings.machine_id.clone(), hash, refusal);
        // An error means that the publisher has ended, and its keys expire.
        self.publisher.publish_and_wait(self.state_key(name), state.encode()).await;
    }
}
