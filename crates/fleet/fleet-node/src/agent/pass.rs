//! One pass of the agent: desired units against local units.

use std::collections::BTreeMap;
use std::future::ready;

use fleet_core::agent::{DesiredUnit, Task, desired_units, reconcile};
use fleet_core::fencing::{Facts, Others, may_start};
use fleet_core::registry::{Key, UnitState};
use fleet_core::{JobState, RefusedStep};
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;
use tokio::time::timeout;
use unit_file::{Requirements, UnitHash, UnitName};

use crate::agent::Agent;
use crate::agent::refusals::Refusals;
use crate::limits::MAX_CONCURRENT;
use crate::store::Store;
use crate::store_link::Fence;
use crate::unit_manager::{NeedDaemonReload, SystemdState, UnitManager, UnitManagerError};

impl<S: Store, H: UnitManager> Agent<S, H> {
    /// Long operations are spawned on `background`.
    pub(super) async fn pass(&self, background: &mut JoinSet<()>) {
        self.metrics.agent_pass();
        let (local, busy) = self.local_units.snapshot();
        let loaded_here = local.keys().cloned().collect();
        let machine_id = &self.settings.machine_id;
        let desired = self.registry.with_view(|view| {
            // Before registration, and while the store is unreachable, the machine's own settings apply.
            let machine = view.machine(machine_id).unwrap_or_else(|| fleet_core::Machine {
                metadata: self.settings.metadata.clone(),
                ..fleet_core::Machine::new(machine_id.as_str())
            });
            desired_units(view, &machine, &loaded_here)
        });
        self.withdraw_refusals(&desired);
        let tasks = reconcile(&desired, &local);
        let (mut loads, mut starts) = (Vec::new(), Vec::new());
        for task in tasks {
            let Some(name) = task.unit().filter(|name| !busy.contains(*name)).cloned() else { continue };
            if self.is_backing_off(&task, &name, &desired) {
                continue;
            }
            match &task {
                Task::Unload { .. } => {
                    self.spawn_background(background, name, task, |agent, name, task| async move {
                        agent.unload(&name, &task).await;
                    })
                }
                Task::Stop { .. } => {
                    self.spawn_background(background, name, task, |agent, name, task| async move {
                        agent.stop(&name, &task).await;
                    })
                }
                Task::Load { .. } => loads.push((name, task)),
                Task::Start { .. } => starts.push((name, task)),
                Task::ReloadUnitFiles => {}
            }
        }
        let (_, busy) = self.local_units.snapshot();
        loads.retain(|(name, _)| !busy.contains(name));
        let loaded: BTreeMap<UnitName, NeedDaemonReload> = iter(loads)
            .map(|(name, task)| self.load(name, task, &desired))
            .buffer_unordered(MAX_CONCURRENT)
            .filter_map(ready)
            .collect()
            .await;
        if let Err(error) = self.load_into_systemd(&loaded).await {
            tracing::error!("systemd does not read its units again: {error}");
            self.local_units.request_daemon_reload();
            return;
        }
        self.announce_adopted().await;
        iter(starts)
            .filter(|(name, _)| ready(!busy.contains(name) && self.local_units.contains(name)))
            .for_each_concurrent(MAX_CONCURRENT, |(name, task)| {
                let is_claimed = loaded.contains_key(&name);
                async move {
                    if (is_claimed || self.reclaim(&name).await) && self.start(&name).await {
                        self.log_completed(&task);
                    }
                }
            })
            .await;
    }

    /// Makes systemd read what was loaded before anything starts, since a start may pull in another unit. Reloads
    /// everything only if one unit needs it: a reload blocks systemd for a tenth of a second or more.
    async fn load_into_systemd(
        &self,
        loaded: &BTreeMap<UnitName, NeedDaemonReload>,
    ) -> Result<(), UnitManagerError> {
        if self.local_units.take_daemon_reload()
            || loaded.values().any(|need_reload| *need_reload == NeedDaemonReload::Yes)
        {
            return self.unit_manager.daemon_reload().await;
        }
        match loaded.is_empty() {
            true => Ok(()),
            false => self.unit_manager.discover(&loaded.keys().cloned().collect::<Vec<_>>()).await,
        }
    }

    /// Whether the same step failed recently.
    fn is_backing_off(
        &self,
        task: &Task,
        name: &UnitName,
        desired: &BTreeMap<UnitName, DesiredUnit>,
    ) -> bool {
        match task {
            Task::Load { .. } | Task::Start { .. } => desired.get(name).is_some_and(|desired| {
                let is_waiting = |refusals: &mut Refusals| {
                    refusals.get(name, desired.hash).is_some_and(|refused| !refused.is_due())
                };
                self.local_units.with_refusals(is_waiting)
            }),
            _ => self
                .local_units
                .hash(name)
                .is_some_and(|hash| self.local_units.unload_recently_failed(name, hash)),
        }
    }

    /// Publishes the keys of units that an earlier fleetd launched.
    async fn announce_adopted(&self) {
        iter(self.local_units.unannounced())
            .for_each_concurrent(MAX_CONCURRENT, |name| async move {
                let Some(hash) = self.local_units.hash(&name) else { return };
                if self.reclaim(&name).await {
                    let state = self.current_state(&name).await;
                    self.publisher.publish(self.state_key(&name), self.state_value(&name, &state, hash));
                    self.local_units.set_announced(&name);
                }
            })
            .await;
    }

    fn spawn_background<F: Future<Output = ()> + Send + 'static>(
        &self,
        background: &mut JoinSet<()>,
        name: UnitName,
        task: Task,
        work: impl FnOnce(Self, UnitName, Task) -> F + Send + 'static,
    ) {
        if !self.local_units.mark_busy(&name) {
            return;
        }
        let agent = self.clone();
        background.spawn(async move {
            let local_units = agent.local_units.clone();
            work(agent, name.clone(), task).await;
            local_units.clear_busy(&name);
        });
    }

    /// Publishes the claim, checks that the unit is still assigned here, and writes its file. Returns the unit's name
    /// and whether systemd must reload, or `None` if it was not loaded.
    async fn load(
        &self,
        name: UnitName,
        task: Task,
        desired: &BTreeMap<UnitName, DesiredUnit>,
    ) -> Option<(UnitName, NeedDaemonReload)> {
        let desired = desired.get(&name)?;
        let file = self
            .registry
            .with_view(|view| view.file(&name).filter(|file| file.hash() == desired.hash).cloned())?;
        let adopted = self.local_units.contains(&name);
        let claim = self.claim_for(&name, desired.state, desired.hash).await;
        if !self.claim(&name, &claim).await {
            if !adopted {
                // Not awaited: this could take long while the store is unreachable.
                drop(self.publisher.withdraw(claim.key));
            }
            return None;
        }
        let need_reload = match self.unit_manager.load(&name, &file).await {
            Ok(need_reload) => need_reload,
            Err(error) => {
                self.report_load_failure(&name, desired.hash, &task, &error);
                return None;
            }
        };
        self.local_units.insert_loaded(&name, desired.hash);
        self.clear_refusal(&name, desired.hash, RefusedStep::Load);
        // systemd sends events for changes only; a unit that is just loaded, or already runs, may not change.
        if adopted || desired.state != JobState::Launched {
            let state = self.current_state(&name).await;
            self.publisher.publish(self.state_key(&name), self.state_value(&name, &state, desired.hash));
        }
        self.log_completed(&task);
        Some((name, need_reload))
    }

    /// Renews the claim on a local unit: its keys may have expired while the store was unreachable, and another
    /// machine may have claimed it.
    pub(super) async fn reclaim(&self, name: &UnitName) -> bool {
        let Some(hash) = self.local_units.hash(name).filter(|_| self.is_assigned_here(name)) else {
            return false;
        };
        let claim = self.claim_for(name, JobState::Launched, hash).await;
        self.claim(name, &claim).await
    }

    /// The key that claims the unit: the job state if it is to be launched, otherwise its published state. For a
    /// global unit all machines would share one job state, so it always uses the published state.
    async fn claim_for(&self, name: &UnitName, desired: JobState, hash: UnitHash) -> Claim {
        if desired == JobState::Launched && !self.is_global(name) {
            return Claim { key: Key::JobState(name.clone()), value: self.settings.machine_id.to_string() };
        }
        let state = self.current_state(name).await;
        // Without an earlier refusal: a refused state is no claim.
        let SystemdState { load, active, sub } = state;
        let state =
            UnitState { load, active, sub, machine: self.settings.machine_id.clone(), hash, refusal: None };
        Claim { key: self.state_key(name), value: state.encode() }
    }

    /// Publishes a claim and waits until this node has observed it. True if the unit is then still assigned here: a
    /// machine that reconnects first observes what happened meanwhile, so that it never overwrites a newer claim.
    async fn claim(&self, name: &UnitName, claim: &Claim) -> bool {
        if !self.store_link.state().is_serving() {
            return false;
        }
        let limit = self.settings.heartbeat_timeout();
        let written =
            timeout(limit, self.publisher.publish_and_wait(claim.key.clone(), claim.value.clone())).await;
        let Ok(Some(index)) = written else { return false };
        if timeout(limit, self.registry.wait_for_index(index)).await.is_err() {
            return false;
        }
        self.is_assigned_here(name)
    }

    /// According to this node's view of the registry.
    fn is_assigned_here(&self, name: &UnitName) -> bool {
        self.registry.with_view(|view| {
            let unit = view.unit(name);
            unit.is_some_and(|unit| {
                unit.requirements.global || unit.target.as_ref() == Some(&self.settings.machine_id)
            })
        })
    }

    pub(super) async fn current_state(&self, name: &UnitName) -> SystemdState {
        if !self.local_units.contains(name) {
            return state_of("loaded", "inactive", "dead");
        }
        let states = self.unit_manager.states(std::slice::from_ref(name)).await.unwrap_or_default();
        states.get(name).cloned().unwrap_or_else(|| state_of("loaded", "inactive", "dead"))
    }

    pub(super) fn is_global(&self, name: &UnitName) -> bool {
        self.registry
            .with_view(|view| view.requirements(name).is_some_and(|requirements| requirements.global))
    }

    /// Starts a claimed unit, unless it could not be stopped in time if the store became unreachable. Returns whether
    /// it started.
    async fn start(&self, name: &UnitName) -> bool {
        // The fence enforcer skips busy units, and finds this one launched afterwards.
        if !self.local_units.mark_busy(name) {
            return false;
        }
        let started = self.may_start(name) && self.start_now(name).await;
        self.local_units.clear_busy(name);
        if !started && !self.is_global(name) {
            drop(self.publisher.withdraw(Key::JobState(name.clone())));
        }
        started
    }

    async fn start_now(&self, name: &UnitName) -> bool {
        if let Err(error) = self.unit_manager.start(name).await {
            self.report_start_failure(name, &error).await;
            return false;
        }
        if let Some(hash) = self.local_units.hash(name) {
            self.clear_refusal(name, hash, RefusedStep::Start);
        }
        self.local_units.set_state(name, JobState::Launched);
        true
    }

    fn may_start(&self, name: &UnitName) -> bool {
        let link_state = self.store_link.state();
        let outlasts_partition = self
            .registry
            .with_view(|view| view.requirements(name).is_some_and(Requirements::outlasts_partition));
        if outlasts_partition {
            return true;
        }
        let Some(last_heartbeat) = link_state.last_heartbeat else { return false };
        let now = self.settings.clock.now();
        let others = match self.registry.with_view(|view| view.machines().count()) {
            0 | 1 => Others::None,
            // The fence knows the answers of the other machines.
            _ => Others::Some { without_store_at: (link_state.fence == Fence::Open).then_some(now) },
        };
        link_state.fence == Fence::Open
            && may_start(&Facts { now, last_heartbeat, ttl: self.settings.ttl, others })
    }

    async fn stop(&self, name: &UnitName, task: &Task) {
        self.local_units.mark_stopping(name);
        if let Err(error) = self.unit_manager.stop(name).await {
            tracing::error!("Failed to stop Unit({name}): {error}");
            self.metrics.failed(task);
            return;
        }
        self.local_units.set_state(name, JobState::Loaded);
        drop(self.publisher.withdraw(Key::JobState(name.clone())));
        self.log_completed(task);
    }

    /// Withdraws the unit's keys only after it has stopped.
    async fn unload(&self, name: &UnitName, task: &Task) {
        self.local_units.mark_stopping(name);
        match self.unit_manager.unload(name).await {
            Ok(NeedDaemonReload::Yes) => self.local_units.request_daemon_reload(),
            Ok(NeedDaemonReload::No) => {}
            Err(error) => {
                tracing::error!("Failed to unload Unit({name}): {error}");
                self.metrics.failed(task);
                if let Some(hash) = self.local_units.hash(name) {
                    self.local_units.set_unload_failed(name, hash);
                }
                return;
            }
        }
        let hash = self.local_units.hash(name);
        self.local_units.remove(name);
        match hash {
            Some(hash) => self.withdraw_unit(name, hash).await,
            None => self.withdraw_keys(name).await,
        }
        self.log_completed(task);
    }

    /// Returns when the keys are deleted.
    pub(super) async fn withdraw_keys(&self, name: &UnitName) {
        for key in [Key::JobState(name.clone()), self.state_key(name)] {
            // An error means that the publisher has ended, and its keys expire.
            self.publisher.withdraw(key).await.unwrap_or(());
        }
    }

    fn log_completed(&self, task: &Task) {
        let (kind, unit) = (task.kind(), task.unit().map(UnitName::as_str).unwrap_or_default());
        if let Some(reason) = task.reason() {
            tracing::info!("AgentReconciler completed task: type={kind} job={unit} reason=\"{reason}\"");
        }
        self.metrics.completed(task);
    }
}

/// A key that claims a unit for this machine.
struct Claim {
    key: Key,
    value: String,
}

fn state_of(load: &str, active: &str, sub: &str) -> SystemdState {
    SystemdState { load: load.into(), active: active.into(), sub: sub.into() }
}
