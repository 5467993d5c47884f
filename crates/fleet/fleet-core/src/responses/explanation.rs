//! Explains why a unit is where it is, from the scheduler and from refusals of machines.

use std::collections::BTreeMap;

use crate::registry::View;
use crate::schedule::{Candidate, Placement, Scheduler};
use crate::{MachineId, Refusal, RefusalScope};
use fleet_api::additions::{Explanation, Verdict};
use unit_file::UnitName;

/// `None` for an unknown unit.
pub fn explanation(view: &View, scheduler: &Scheduler, name: &UnitName) -> Option<Explanation> {
    let explained = scheduler.explain(name.as_str())?;
    let machine = match &explained.placement {
        Placement::On(machine) => Some(machine),
        _ => None,
    };
    let refusals: BTreeMap<&MachineId, &Refusal> =
        view.states_of(name).filter_map(|(id, _)| Some((id, view.refusal(name, id)?))).collect();
    let mut machines: Vec<Verdict> = explained
        .candidates
        .iter()
        .map(|candidate| verdict(candidate, refusals.get(&candidate.machine).copied()))
        .collect();
    machines.sort_by(|candidate, other| candidate.machine_id.cmp(&other.machine_id));
    let refused = machine.and_then(|machine| refusals.get(machine).copied());
    let may_move = || {
        let others = explained.candidates.iter().filter(|candidate| Some(&candidate.machine) != machine);
        others.into_iter().any(|candidate| candidate.obstacles.is_empty())
    };
    let is_blocked = refused.is_some_and(|refusal| match refusal.scope {
        RefusalScope::Unit => true,
        RefusalScope::Machine => !may_move(),
        RefusalScope::Temporary => false,
    });
    let mut hints: Vec<String> = match explained.placement {
        Placement::On(_) | Placement::Global(_) | Placement::NotDesired => Vec::new(),
        _ => explained
            .remedies()
            .iter()
            .map(|(machine, remedy)| format!("Machine({machine}): {remedy}"))
            .collect(),
    };
    hints.extend(refused.map(|refusal| remedy(name, refusal).to_owned()));
    let summary = match refused {
        Some(refusal) => format!("{}, but {refusal}", explained.placement),
        None => match (explained.message(), machine) {
            (Some(stays), Some(_)) => format!("{}: {stays}", explained.placement),
            (Some(message), None) => message,
            (None, _) => explained.placement.to_string(),
        },
    };
    Some(Explanation {
        blocked: is_blocked || explained.is_blocked(),
        hints,
        machine_id: machine.map(ToString::to_string).unwrap_or_default(),
        machines,
        name: name.to_string(),
        summary: format!("{name}: {summary}"),
    })
}

fn verdict(candidate: &Candidate, refusal: Option<&Refusal>) -> Verdict {
    let mut reasons: Vec<String> = candidate.obstacles.iter().map(ToString::to_string).collect();
    let refused = refusal.map(ToString::to_string).filter(|text| !reasons.contains(text));
    reasons.extend(refused);
    Verdict {
        eligible: reasons.is_empty(),
        load: candidate.load,
        machine_id: candidate.machine.to_string(),
        reasons,
    }
}

/// What would make the unit run on its machine.
fn remedy(name: &UnitName, refusal: &Refusal) -> String {
    match refusal.scope {
        RefusalScope::Unit => format!("correct the unit file, then `fleetctl start --replace {name}`"),
        RefusalScope::Machine => {
            format!(
                "fix the reported problem on the machine, then `fleetctl start {name}`; or rename the unit"
            )
        }
        RefusalScope::Temporary => "it is tried again every few seconds".to_owned(),
    }
}
