//! Assembles the plan in its order.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::step::{Action, Facts, FileKind, FileWrite, Plan, Settings};
use super::{files, network, units, users};
use crate::check::Checked;
use crate::template::Addresses;

/// Plans the steps in the order of contract 3.1.
pub fn plan(checked: &Checked, addresses: &Addresses, facts: &Facts, settings: &Settings) -> Plan {
    let mut plan = Plan { notes: checked.notes.clone(), ..Plan::default() };
    if let Some(name) = &checked.hostname {
        plan.push(Action::Hostname { name: name.clone() }, "the machine's name");
    }
    users::plan(checked, facts, settings, &mut plan);
    let deferred = files::plan(checked, addresses, facts, &mut plan);
    let network_files = network::plan(&checked.network, facts, &mut plan);
    units::plan(checked, network_files, deferred, &mut plan);
    drop_overwritten(&mut plan);
    plan
}

/// The last entry for a path wins; writing earlier ones would change the file twice in each run.
fn drop_overwritten(plan: &mut Plan) {
    let mut taken = BTreeSet::new();
    let mut kept = Vec::with_capacity(plan.steps.len());
    for step in std::mem::take(&mut plan.steps).into_iter().rev() {
        let (path, overwritten) = match &step.action {
            Action::Write(write) | Action::Fetch { write, .. } => {
                (Some(&write.path), taken.contains(&write.path))
            }
            Action::Mask { path } => (Some(path), false),
            _ => (None, false),
        };
        if let (Some(path), true) = (path, overwritten) {
            plan.notes.push(format!("Skipping {path}: a later entry for the same path wins"));
            continue;
        }
        let adds = matches!(
            &step.action,
            Action::Write(FileWrite { kind: FileKind::CreateOnly | FileKind::Append { .. }, .. })
                | Action::Fetch {
                    write: FileWrite { kind: FileKind::CreateOnly | FileKind::Append { .. }, .. },
                    ..
                }
        );
        if !adds {
            taken.extend(path.cloned());
        }
        kept.push(step);
    }
    kept.reverse();
    plan.steps = kept;
}

/// Adds the user-data's scripts after all other steps, `runcmd` first. A carriage return at the end of the
/// shebang line is dropped: the kernel would treat it as part of the interpreter's name.
pub fn add_scripts(plan: &mut Plan, commands: &[Vec<u8>], scripts: &[Vec<u8>]) {
    let chained = commands.len() + scripts.len() > 1;
    for content in commands {
        plan.push(Action::Script { content: Arc::from(&**content), chained }, "an entry of runcmd");
    }
    for text in scripts {
        let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
        let first = text[..end].trim_ascii_end();
        let content: Arc<[u8]> = [first, &text[end..]].concat().into();
        let why = if chained { "a script of the user-data" } else { "the user-data is a script" };
        plan.push(Action::Script { content, chained }, why);
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod service_tests;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
