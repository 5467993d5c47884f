//! One-line reasons why a unit has not reached its desired state.

use fleet_api::additions::Explanation;
use fleet_api::{JobState, Unit};

use crate::failure::Failure;
use crate::legend::Machines;
use crate::registry::Registry;

/// Limit of hints per unit; in a large cluster there is one for each machine.
const MAX_HINTS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub text: String,
    /// No progress is possible until a unit or a machine changes.
    pub blocked: bool,
    pub hints: Vec<String>,
}

/// The reason for a unit that is not loaded or not started. The original fleetd provides less detail.
pub async fn reason(registry: &Registry, machines: &Machines, unit: &Unit) -> Reason {
    match registry.explain(&unit.name).await {
        Ok(explanation) => from_explanation(&explanation, machines),
        Err(_) => Reason { text: without_explanation(unit), blocked: false, hints: Vec::new() },
    }
}

/// `message`, with the reason unless the desired state is inactive.
pub async fn failure_with_reason(registry: &Registry, unit: &Unit, message: String) -> Failure {
    if unit.desired_state == JobState::Inactive.as_str() {
        return Failure::new(message);
    }
    let machines = registry.machines().await.map(Machines::new).unwrap_or_default();
    Failure::new(format!("{message}\n{}", reason(registry, &machines, unit).await.text))
}

pub fn from_explanation(explanation: &Explanation, machines: &Machines) -> Reason {
    let id = &explanation.machine_id;
    let verdict_of_target =
        explanation.machines.iter().find(|verdict| !id.is_empty() && verdict.machine_id == *id);
    let text = match verdict_of_target {
        Some(verdict) if verdict.reasons.is_empty() => "its machine has not reported it yet".to_owned(),
        Some(verdict) => format!("on {}: {}", machines.legend(id, false), verdict.reasons.join("; ")),
        None => {
            let prefix = format!("{}: ", explanation.name);
            explanation.summary.strip_prefix(&prefix).unwrap_or(&explanation.summary).to_owned()
        }
    };
    let hints = explanation.hints.iter().take(MAX_HINTS).cloned().collect();
    Reason { text, blocked: explanation.blocked, hints }
}

fn without_explanation(unit: &Unit) -> String {
    match unit.scheduling_message.as_str() {
        "" if unit.machine_id.is_empty() => "it has no machine yet".to_owned(),
        "" => "its machine has not reported it yet".to_owned(),
        message => message.to_owned(),
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
    fn verdict_of_the_target_or_the_summary() {
        let check = |machine, reasons: &[&str], expect| {
            assert_eq!(from_explanation(&explanation(machine, reasons), &Machines::default()).text, expect);
        };
        check("", &["no"], "no machine is present");
        check("113f16a7abcdef", &[], "its machine has not reported it yet");
        check("113f16a7abcdef", &["it is masked", "no"], "on 113f16a7...: it is masked; no");
    }
}
