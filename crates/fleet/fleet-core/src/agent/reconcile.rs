//! Tasks, each with a reason, from desired and local units.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use unit_file::{UnitHash, UnitName};

use crate::agent::desired::{DesiredUnit, Hold};
use crate::job_state::JobState;

/// A unit that this machine has loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalUnit {
    /// Hash of the file on disk.
    pub hash: UnitHash,
    /// Last operation of the agent. `Inactive` if unknown, as after a start of fleetd.
    pub state: JobState,
}

/// A step of the agent. Tasks are executed in the order of this enum, then by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Unload {
        unit: UnitName,
        reason: Reason,
    },
    Load {
        unit: UnitName,
        reason: Reason,
    },
    /// daemon-reload.
    ReloadUnitFiles,
    Stop {
        unit: UnitName,
        reason: Reason,
    },
    Start {
        unit: UnitName,
        reason: Reason,
    },
}

/// The texts are the original's, since people search journals for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    ScheduledButUnloaded,
    LoadedButNotScheduled,
    HashDiffers,
    DesiredLaunched,
    DesiredLoaded,
}

impl Task {
    /// Name in logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unload { .. } => "UnloadUnit",
            Self::Load { .. } => "LoadUnit",
            Self::ReloadUnitFiles => "ReloadUnitFiles",
            Self::Stop { .. } => "StopUnit",
            Self::Start { .. } => "StartUnit",
        }
    }

    /// `None` for the reload.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::ReloadUnitFiles => None,
            Self::Unload { reason, .. }
            | Self::Load { reason, .. }
            | Self::Stop { reason, .. }
            | Self::Start { reason, .. } => Some(*reason),
        }
    }

    /// `None` for the reload.
    pub fn unit(&self) -> Option<&UnitName> {
        match self {
            Self::ReloadUnitFiles => None,
            Self::Unload { unit, .. }
            | Self::Load { unit, .. }
            | Self::Stop { unit, .. }
            | Self::Start { unit, .. } => Some(unit),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ScheduledButUnloaded => "unit scheduled here but not loaded",
            Self::LoadedButNotScheduled => "unit loaded but not scheduled here",
            Self::HashDiffers => "unit loaded but hash differs to expected",
            Self::DesiredLaunched => "unit currently loaded but desired state is launched",
            Self::DesiredLoaded => "unit currently launched but desired state is loaded",
        })
    }
}

/// The tasks in order.
pub fn reconcile(
    desired_units: &BTreeMap<UnitName, DesiredUnit>,
    local: &BTreeMap<UnitName, LocalUnit>,
) -> Vec<Task> {
    let mut tasks = Vec::new();
    let names: BTreeSet<_> = desired_units.keys().chain(local.keys()).collect();
    for name in names {
        reconcile_unit(name, desired_units.get(name), local.get(name), &mut tasks);
    }
    if tasks.iter().any(|task| matches!(task, Task::Unload { .. } | Task::Load { .. })) {
        tasks.push(Task::ReloadUnitFiles);
    }
    tasks.sort();
    tasks
}

fn reconcile_unit(
    name: &UnitName,
    desired: Option<&DesiredUnit>,
    local: Option<&LocalUnit>,
    tasks: &mut Vec<Task>,
) {
    let unit = || name.clone();
    let load = |tasks: &mut Vec<Task>, desired| {
        tasks.push(Task::Load { unit: unit(), reason: Reason::ScheduledButUnloaded });
        if desired == JobState::Launched {
            tasks.push(Task::Start { unit: unit(), reason: Reason::DesiredLaunched });
        }
    };
    let Some(desired) = desired.filter(|desired| desired.state != JobState::Inactive) else {
        if local.is_some() {
            tasks.push(Task::Unload { unit: unit(), reason: Reason::LoadedButNotScheduled });
        }
        return;
    };
    let Some(local) = local else { return load(tasks, desired.state) };
    // A unit that is handed over keeps running until the other one is active.
    if desired.hold == Some(Hold::Handover) {
        return;
    }
    if local.hash != desired.hash && desired.hold == Some(Hold::Elsewhere) {
        return;
    }
    if local.hash != desired.hash && desired.hold.is_none() {
        tasks.push(Task::Unload { unit: unit(), reason: Reason::HashDiffers });
        return load(tasks, desired.state);
    }
    match (local.state, desired.state) {
        // The held version must not be overwritten by the new one.
        (JobState::Inactive, JobState::Launched) if local.hash != desired.hash => {
            tasks.push(Task::Start { unit: unit(), reason: Reason::DesiredLaunched });
        }
        (JobState::Inactive, _) if local.hash != desired.hash => {}
        (JobState::Inactive, desired) => load(tasks, desired),
        (JobState::Loaded, JobState::Launched) => {
            tasks.push(Task::Start { unit: unit(), reason: Reason::DesiredLaunched });
        }
        (JobState::Launched, JobState::Loaded) => {
            tasks.push(Task::Stop { unit: unit(), reason: Reason::DesiredLoaded });
        }
        _ => {}
    }
}
