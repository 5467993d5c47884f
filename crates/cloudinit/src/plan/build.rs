//! Puts the parts of a plan in their order.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::step::{Action, Facts, Plan, Settings};
use super::{files, units, users};
use crate::check::Checked;
use crate::template::Addresses;

/// The steps in the order of contract 3.1.
pub fn plan(checked: &Checked, addresses: &Addresses, facts: &Facts, settings: &Settings) -> Plan {
    let mut plan = Plan { notes: checked.notes.clone(), ..Plan::default() };
    if let Some(name) = &checked.hostname {
        plan.push(Action::Hostname { name: name.clone() }, "the machine's name");
    }
    users::plan(checked, facts, settings, &mut plan);
    files::plan(checked, addresses, facts, &mut plan);
    units::plan(checked, &mut plan);
    drop_overwritten(&mut plan);
    plan
}

/// The last entry for a path wins; writing the earlier ones too would change the file twice at each run.
fn drop_overwritten(plan: &mut Plan) {
    let mut taken = BTreeSet::new();
    let mut kept = Vec::with_capacity(plan.steps.len());
    for step in std::mem::take(&mut plan.steps).into_iter().rev() {
        let (path, overwritten) = match &step.action {
            Action::Write(write) => (Some(&write.path), taken.contains(&write.path)),
            Action::Mask { path } => (Some(path), false),
            _ => (None, false),
        };
        if let (Some(path), true) = (path, overwritten) {
            plan.notes.push(format!("Skipping {path}: a later entry for the same path wins"));
            continue;
        }
        taken.extend(path.cloned());
        kept.push(step);
    }
    kept.reverse();
    plan.steps = kept;
}

/// Adds the script that the user-data is, to run after all else. A carriage return at the end of its first
/// line is dropped, as the kernel would take it for part of the interpreter's name.
pub fn add_script(plan: &mut Plan, text: &[u8]) {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let first = text[..end].trim_ascii_end();
    let content: Rc<[u8]> = [first, &text[end..]].concat().into();
    plan.push(Action::Script { content }, "the user-data is a script");
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
