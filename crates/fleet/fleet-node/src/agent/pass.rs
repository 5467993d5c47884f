//! One pass: what is wanted against what is there.

use std::collections::BTreeMap;
use std::future::ready;

use fleet_core::agent::{Task, Wanted, reconcile, wanted};
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
use crate::contact::Fence;
use crate::hands::{Hands, HandsError, Reread, SystemdState};
use crate::limits::AT_A_TIME;
use crate::store::Store;

impl<S: Store, H: Hands> Agent<S, H> {
    /// Tasks that take long are put `beside`.
    pub(super) async fn pass(&self, beside: &mut JoinSet<()>) {
        self.metrics.agent_pass();
        let (found, busy) = self.there.all();
        let here = found.keys().cloned().collect();
        let me = &self.settings.me;
        let wanted = self.known.look(|view| {
            // Before it is registered, or while the store is away, it is what it says of itself.
            let machine = view.machine(me).unwrap_or_else(|| fleet_core::Machine {
                metadata: self.settings.metadata.clone(),
                ..fleet_core::Machine::new(me.as_str())
            });
            wanted(view, &machine, &here)
        });
        self.withdraw_refusals(&wanted);
        let tasks = reconcile(&wanted, &found);
        let (mut loads, mut starts) = (Vec::new(), Vec::new());
        for task in tasks {
            let Some(name) = task.unit().filter(|name| !busy.contains(*name)).cloned() else { continue };
            if self.was_refused(&task, &name, &wanted) {
                continue;
            }
            match &task {
                Task::Unload { .. } => self.beside(beside, name, task, |agent, name, task| async move {
                    agent.unload(&name, &task).await;
                }),
                Task::Stop { .. } => self.beside(beside, name, task, |agent, name, task| async move {
                    agent.stop(&name, &task).await;
                }),
                Task::Load { .. } => loads.push((name, task)),
                Task::Start { .. } => starts.push((name, task)),
                Task::ReloadUnitFiles => {}
            }
        }
        let (_, busy) = self.there.all();
        loads.retain(|(name, _)| !busy.contains(name));
        let loaded: BTreeMap<UnitName, Reread> = iter(loads)
            .map(|(name, task)| self.load(name, task, &wanted))
            .buffer_unordered(AT_A_TIME)
            .filter_map(ready)
            .collect()
            .await;
        if let Err(error) = self.make_known(&loaded).await {
            tracing::error!("systemd does not read its units again: {error}");
            self.there.reload_later();
            return;
        }
        self.greet().await;
        iter(starts)
            .filter(|(name, _)| ready(!busy.contains(name) && self.there.is_there(name)))
            .for_each_concurrent(AT_A_TIME, |(name, task)| {
                let is_held = loaded.contains_key(&name);
                async move {
                    if (is_held || self.hold_again(&name).await) && self.start(&name).await {
                        self.done(&task);
                    }
                }
            })
            .await;
    }

    /// systemd knows what was loaded, before anything is started: that may want another unit. All files are read again
    /// where that is needed for one; it takes a tenth of a second and more, in which systemd does nothing else.
    async fn make_known(&self, loaded: &BTreeMap<UnitName, Reread>) -> Result<(), HandsError> {
        if self.there.reload_is_due() || loaded.values().any(|reread| *reread == Reread::Needed) {
            return self.hands.reload().await;
        }
        match loaded.is_empty() {
            true => Ok(()),
            false => self.hands.find(&loaded.keys().cloned().collect::<Vec<_>>()).await,
        }
    }

    /// Whether it was just tried in vain.
    fn was_refused(&self, task: &Task, name: &UnitName, wanted: &BTreeMap<UnitName, Wanted>) -> bool {
        match task {
            Task::Load { .. } | Task::Start { .. } => wanted.get(name).is_some_and(|wanted| {
                let of = |refusals: &mut Refusals| {
                    refusals.of(name, wanted.hash).is_some_and(|refused| !refused.is_due())
                };
                self.there.refusals(of)
            }),
            _ => self.there.hash(name).is_some_and(|hash| self.there.is_stuck(name, hash)),
        }
    }

    /// Units that an earlier start has launched and that run on: what was said of them is said again.
    async fn greet(&self) {
        iter(self.there.not_greeted())
            .for_each_concurrent(AT_A_TIME, |name| async move {
                let Some(hash) = self.there.hash(&name) else { return };
                if self.hold_again(&name).await {
                    let state = self.state_now(&name).await;
                    self.words.say(self.state_key(&name), self.state_value(&name, &state, hash));
                    self.there.greeted(&name);
                }
            })
            .await;
    }

    fn beside<F: Future<Output = ()> + Send + 'static>(
        &self,
        beside: &mut JoinSet<()>,
        name: UnitName,
        task: Task,
        work: impl FnOnce(Self, UnitName, Task) -> F + Send + 'static,
    ) {
        if !self.there.begin(&name) {
            return;
        }
        let agent = self.clone();
        beside.spawn(async move {
            let there = agent.there.clone();
            work(agent, name.clone(), task).await;
            there.end(&name);
        });
    }

    /// Says that it holds the unit, sees whether it still is its own, and writes it. Its name, if so, and whether systemd
    /// has to read its files again.
    async fn load(
        &self,
        name: UnitName,
        task: Task,
        wanted: &BTreeMap<UnitName, Wanted>,
    ) -> Option<(UnitName, Reread)> {
        let wanted = wanted.get(&name)?;
        let file =
            self.known.look(|view| view.file(&name).filter(|file| file.hash() == wanted.hash).cloned())?;
        let adopted = self.there.is_there(&name);
        let hold = self.hold_of(&name, wanted.desired, wanted.hash).await;
        if !self.hold(&name, &hold).await {
            if !adopted {
                // Not waited for: with the store away that could take long.
                drop(self.words.take_back(hold.key));
            }
            return None;
        }
        let reread = match self.hands.load(&name, &file).await {
            Ok(reread) => reread,
            Err(error) => {
                self.refuse_load(&name, wanted.hash, &task, &error);
                return None;
            }
        };
        self.there.loaded(&name, wanted.hash);
        self.accept(&name, wanted.hash, RefusedStep::Load);
        // What follows systemd tells what changes; a unit that is only loaded, or runs already, may not change.
        if adopted || wanted.desired != JobState::Launched {
            let state = self.state_now(&name).await;
            self.words.say(self.state_key(&name), self.state_value(&name, &state, wanted.hash));
        }
        self.done(&task);
        Some((name, reread))
    }

    /// Holds a unit that is here. What was said of it may have ended while the store was away, and others have it now.
    pub(super) async fn hold_again(&self, name: &UnitName) -> bool {
        let Some(hash) = self.there.hash(name).filter(|_| self.belongs_here(name)) else { return false };
        let hold = self.hold_of(name, JobState::Launched, hash).await;
        self.hold(name, &hold).await
    }

    /// What says that a unit is held here. For one that is to be launched it is the claim to have launched it, which
    /// is to be said in any case; of a global one every machine would write the same claim.
    async fn hold_of(&self, name: &UnitName, desired: JobState, hash: UnitHash) -> Hold {
        if desired == JobState::Launched && !self.is_global(name) {
            return Hold { key: Key::JobState(name.clone()), value: self.settings.me.to_string() };
        }
        let state = self.state_now(name).await;
        // Without what was refused before: that would be no hold.
        let SystemdState { load, active, sub } = state;
        let state = UnitState { load, active, sub, machine: self.settings.me.clone(), hash, refusal: None };
        Hold { key: self.state_key(name), value: state.encode() }
    }

    /// True once the store has the word, and nothing that happened before it has taken the unit away. A machine that is back
    /// first sees what happened without it: its word would be in the place of the machine's that has the unit since.
    async fn hold(&self, name: &UnitName, hold: &Hold) -> bool {
        if !self.contact.standing().is_serving() {
            return false;
        }
        let patience = self.settings.patience();
        let said = timeout(patience, self.words.say_surely(hold.key.clone(), hold.value.clone())).await;
        let Ok(Some(index)) = said else { return false };
        if timeout(patience, self.known.reached(index)).await.is_err() {
            return false;
        }
        self.belongs_here(name)
    }

    /// As far as this node knows.
    fn belongs_here(&self, name: &UnitName) -> bool {
        self.known.look(|view| {
            let unit = view.unit(name);
            unit.is_some_and(|unit| unit.wanted.global || unit.target.as_ref() == Some(&self.settings.me))
        })
    }

    pub(super) async fn state_now(&self, name: &UnitName) -> SystemdState {
        if !self.there.is_there(name) {
            return state_of("loaded", "inactive", "dead");
        }
        let states = self.hands.states(std::slice::from_ref(name)).await.unwrap_or_default();
        states.get(name).cloned().unwrap_or_else(|| state_of("loaded", "inactive", "dead"))
    }

    pub(super) fn is_global(&self, name: &UnitName) -> bool {
        self.known.look(|view| view.wanted(name).is_some_and(|wanted| wanted.global))
    }

    /// Whether it was started: not where it would not be down in time, should this machine lose the store. The unit
    /// is held.
    async fn start(&self, name: &UnitName) -> bool {
        // Who stops units for a fence waits for its turn, and then finds this one launched.
        if !self.there.begin(name) {
            return false;
        }
        let started = self.may_start(name) && self.start_now(name).await;
        self.there.end(name);
        if !started && !self.is_global(name) {
            drop(self.words.take_back(Key::JobState(name.clone())));
        }
        started
    }

    async fn start_now(&self, name: &UnitName) -> bool {
        if let Err(error) = self.hands.start(name).await {
            self.refuse_start(name, &error).await;
            return false;
        }
        if let Some(hash) = self.there.hash(name) {
            self.accept(name, hash, RefusedStep::Start);
        }
        self.there.set_state(name, JobState::Launched);
        true
    }

    fn may_start(&self, name: &UnitName) -> bool {
        let standing = self.contact.standing();
        let runs_on = self.known.look(|view| view.wanted(name).is_some_and(Requirements::outlasts_partition));
        if runs_on {
            return true;
        }
        let Some(sent) = standing.sent else { return false };
        let now = self.settings.clock.now();
        let others = match self.known.look(|view| view.machines().count()) {
            0 | 1 => Others::None,
            // What others answered, the fence knows.
            _ => Others::Some { all_without: (standing.fence == Fence::Open).then_some(now) },
        };
        standing.fence == Fence::Open && may_start(&Facts { now, sent, ttl: self.settings.ttl, others })
    }

    async fn stop(&self, name: &UnitName, task: &Task) {
        self.there.will_stop(name);
        if let Err(error) = self.hands.stop(name).await {
            tracing::error!("Failed to stop Unit({name}): {error}");
            self.metrics.failed(task);
            return;
        }
        self.there.set_state(name, JobState::Loaded);
        drop(self.words.take_back(Key::JobState(name.clone())));
        self.done(task);
    }

    /// What it says of the unit is taken back only when that is stopped.
    async fn unload(&self, name: &UnitName, task: &Task) {
        self.there.will_stop(name);
        match self.hands.unload(name).await {
            Ok(Reread::Needed) => self.there.reload_later(),
            Ok(Reread::NotNeeded) => {}
            Err(error) => {
                tracing::error!("Failed to unload Unit({name}): {error}");
                self.metrics.failed(task);
                if let Some(hash) = self.there.hash(name) {
                    self.there.stuck(name, hash);
                }
                return;
            }
        }
        let hash = self.there.hash(name);
        self.there.gone(name);
        match hash {
            Some(hash) => self.leave(name, hash).await,
            None => self.take_back_words(name).await,
        }
        self.done(task);
    }

    /// Returns when the store has nothing of it any more.
    pub(super) async fn take_back_words(&self, name: &UnitName) {
        for key in [Key::JobState(name.clone()), self.state_key(name)] {
            // Whether the speaker still speaks: where it does not, nothing is said any more either.
            self.words.take_back(key).await.unwrap_or(());
        }
    }

    fn done(&self, task: &Task) {
        let (kind, unit) = (task.kind(), task.unit().map(UnitName::as_str).unwrap_or_default());
        if let Some(reason) = task.reason() {
            tracing::info!("AgentReconciler completed task: type={kind} job={unit} reason=\"{reason}\"");
        }
        self.metrics.completed(task);
    }
}

/// A word that says that this machine has a unit.
struct Hold {
    key: Key,
    value: String,
}

fn state_of(load: &str, active: &str, sub: &str) -> SystemdState {
    SystemdState { load: load.into(), active: active.into(), sub: sub.into() }
}
