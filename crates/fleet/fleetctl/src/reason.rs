//! Why a unit is not where it was asked to be, in one line.

use fleet_api::additions::Explanation;
use fleet_api::{JobState, Unit};

use crate::failure::Failure;
use crate::legend::Machines;
use crate::registry::Registry;

/// Hints that are shown of one unit: of a large cluster, each machine has one.
const HINTS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub text: String,
    /// It stays so until somebody changes the unit or a machine.
    pub blocked: bool,
    pub hints: Vec<String>,
}

/// Of a unit that is not loaded, or not started. What a fleetd of the original's says is less.
pub async fn reason(registry: &Registry, machines: &Machines, unit: &Unit) -> Reason {
    match registry.explain(&unit.name).await {
        Ok(explanation) => of(&explanation, machines),
        Err(_) => Reason { text: without_explanation(unit), blocked: false, hints: Vec::new() },
    }
}

/// A failure that says why the unit is not where it was asked to be; where it was not asked for, `said` alone.
pub async fn failure(registry: &Registry, unit: &Unit, said: String) -> Failure {
    if unit.desired_state == JobState::Inactive.as_str() {
        return Failure::new(said);
    }
    let machines = registry.machines().await.map(Machines::new).unwrap_or_default();
    Failure::new(format!("{said}\n{}", reason(registry, &machines, unit).await.text))
}

pub fn of(explanation: &Explanation, machines: &Machines) -> Reason {
    let id = &explanation.machine_id;
    let there = explanation.machines.iter().find(|verdict| !id.is_empty() && verdict.machine_id == *id);
    let text = match there {
        Some(verdict) if verdict.reasons.is_empty() => "its machine has not reported it yet".to_owned(),
        Some(verdict) => format!("on {}: {}", machines.legend(id, false), verdict.reasons.join("; ")),
        None => {
            let prefix = format!("{}: ", explanation.name);
            explanation.summary.strip_prefix(&prefix).unwrap_or(&explanation.summary).to_owned()
        }
    };
    let hints = explanation.hints.iter().take(HINTS).cloned().collect();
    Reason { text, blocked: explanation.blocked, hints }
}

fn without_explanation(unit: &Unit) -> String {
    match unit.scheduling_message.as_str() {
        "" if unit.machine_id.is_empty() => "it has no machine yet".to_owned(),
        "" => "its machine has not reported it yet".to_owned(),
        said => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fleet_api::additions::Verdict;

    use super::*;

    fn explanation(machine: &str, reasons: &[&str]) -> Explanation {
        Explanation {
            name: "a.service".into(),
            machine_id: machine.into(),
            summary: "a.service: no machine is present".into(),
            machines: vec![Verdict {
                machine_id: "113f16a7abcdef".into(),
                reasons: reasons.iter().map(|text| (*text).to_owned()).collect(),
                ..Verdict::default()
            }],
            ..Explanation::default()
        }
    }

    #[test]
    fn of_a_unit_with_a_machine_what_that_says_and_else_the_summary() {
        let check = |machine, reasons: &[&str], expect| {
            assert_eq!(of(&explanation(machine, reasons), &Machines::default()).text, expect);
        };
        check("", &["no"], "no machine is present");
        check("113f16a7abcdef", &[], "its machine has not reported it yet");
        check("113f16a7abcdef", &["it is masked", "no"], "on 113f16a7...: it is masked; no");
    }
}
