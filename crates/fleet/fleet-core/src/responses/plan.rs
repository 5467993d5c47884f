//! Plans in the API's form.

use std::collections::BTreeMap;

use crate::registry::View;
use crate::schedule::{Reason, Relocation, Scheduler, Task};
use crate::{JobState, JobStateError, Unit};
use fleet_api::additions::{Plan, Step};
use unit_file::{NameError, Requirements, UnitFile, UnitName};

/// A scheduler with the view's facts, in which every machine without a presence has failed.
pub fn scheduler(view: &View) -> Scheduler {
    let mut scheduler = Scheduler::new();
    for subject in view.subjects() {
        view.update_scheduler(&subject, &BTreeMap::new(), &mut scheduler);
    }
    scheduler
}

/// An invalid unit of a plan request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    State(#[from] JobStateError),
    #[error("unit does not exist and options field empty")]
    NoOptions,
    #[error("must provide DesiredState to update existing unit")]
    NoDesiredState,
}

/// The steps if each of these units were sent in a `PUT`.
pub fn plan(view: &View, scheduler: &Scheduler, requested: &[fleet_api::Unit]) -> Result<Plan, PlanError> {
    let mut steps = Vec::new();
    let mut units = Vec::new();
    for one in requested {
        let name = UnitName::parse(&one.name)?;
        let desired: Option<JobState> = match one.desired_state.as_str() {
            "" => None,
            state => Some(state.parse()?),
        };
        let file = match view.file(&name) {
            Some(stored) if one.options.is_empty() => UnitFile::clone(stored),
            None if one.options.is_empty() => return Err(PlanError::NoOptions),
            _ => one.file(),
        };
        let changed = match view.hash(&name) {
            None => Some(("create", "it is not known yet")),
            Some(hash) if hash != file.hash() => Some(("replace", "its text differs")),
            Some(_) => None,
        };
        if let Some((action, reason)) = changed {
            let target = view.unit(&name).and_then(|unit| unit.target);
            let target = target.map(|machine| machine.to_string()).unwrap_or_default();
            steps.push(step(action, &name, target.clone(), target, reason.to_owned()));
        }
        let desired = match (desired, changed) {
            (Some(desired), _) => desired,
            (None, Some(_)) => JobState::default(),
            (None, None) => return Err(PlanError::NoDesiredState),
        };
        units.push(Unit::new(name.clone(), desired, Requirements::read(&file, &name).0));
    }
    let planned = scheduler.plan(units);
    steps.extend(planned.tasks.iter().map(step_for_task));
    steps.extend(planned.unplaced.iter().map(|explained| {
        let why = explained.message().unwrap_or_else(|| explained.placement.to_string());
        step("wait", &explained.unit, String::new(), String::new(), why)
    }));
    Ok(Plan { steps })
}

/// Moves that balance the load of machines.
pub fn rebalance(scheduler: &Scheduler) -> Plan {
    relocations(&scheduler.rebalance())
}

/// The moves as a plan.
pub fn relocations(moves: &[Relocation]) -> Plan {
    let reason = Reason::Rebalance.to_string();
    let steps = moves
        .iter()
        .map(|one| step("move", &one.unit, one.from.to_string(), one.to.to_string(), reason.clone()));
    Plan { steps: steps.collect() }
}

fn step_for_task(task: &Task) -> Step {
    let reason = task.reason().to_string();
    match task {
        Task::Unschedule { unit, machine, .. } => {
            step("unschedule", unit, machine.to_string(), String::new(), reason)
        }
        Task::Schedule { unit, machine, .. } => {
            step("schedule", unit, String::new(), machine.to_string(), reason)
        }
        Task::Move { unit, from, to, .. } => step("move", unit, from.to_string(), to.to_string(), reason),
    }
}

fn step(action: &str, name: &UnitName, from: String, to: String, reason: String) -> Step {
    Step { action: action.to_owned(), from, name: name.to_string(), reason, to }
}
