//! Texts of units.

use crate::config::{Text, Unit};
use crate::finding::{Finding, Severity};
use crate::yaml::Place;

/// What is only reached once this run is over.
const WAITS_FOR_THIS_RUN: [&str; 5] = [
    "user-config.target",
    "multi-user.target",
    "graphical.target",
    "default.target",
    "user-configdrive.service",
];
/// Commands whose job is waited for.
const STARTING: [&str; 3] = ["start", "restart", "reload-or-restart"];

pub(super) fn check(unit: &Unit, findings: &mut Vec<Finding>) {
    if unit.name.is_none() {
        warn(unit.place, "unit has no name", findings);
    }
    for drop_in in &unit.drop_ins {
        if let Some(content) = &drop_in.content
            && is_outside_of_sections(content)
        {
            warn(content.place, "drop-in content has a line outside of any section", findings);
        }
    }
    let Some(content) = &unit.content else { return };
    if is_outside_of_sections(content) {
        warn(content.place, "unit content has a line outside of any section", findings);
    }
    let installs = content.text.lines().any(|line| line.trim() == "[Install]");
    if unit.enable && !installs {
        warn(content.place, "unit is to be enabled but has no [Install] section", findings);
    }
    let starts = unit.command.as_ref().is_some_and(|command| STARTING.contains(&&*command.text));
    if let (true, Some(target)) = (starts, waits_for(content)) {
        let message = format!("unit is started here but waits for {target}, which waits for this run");
        warn(content.place, message, findings);
    }
}

fn is_outside_of_sections(content: &Text) -> bool {
    let mut lines = content.text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    first.is_some_and(|line| !line.starts_with('['))
}

/// What the unit is ordered after and that comes after this run.
fn waits_for(content: &Text) -> Option<&'static str> {
    let orders = content.text.lines().filter_map(|line| line.split_once('='));
    let mut units =
        orders.filter(|(key, _)| key.trim() == "After").flat_map(|(_, units)| units.split_whitespace());
    units.find_map(|unit| WAITS_FOR_THIS_RUN.into_iter().find(|target| *target == unit))
}

fn warn(place: Place, message: impl Into<String>, findings: &mut Vec<Finding>) {
    findings.push(Finding::new(Severity::Warning, place, message));
}
