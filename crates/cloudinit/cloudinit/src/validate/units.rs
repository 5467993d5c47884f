//! Checks unit contents.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::config::{Text, Unit};
use crate::finding::{Finding, Severity};
use crate::yaml::Location;

/// Units that become active only after this run.
const ORDERED_AFTER_CLOUDINIT: [&str; 5] = [
    "user-config.target",
    "multi-user.target",
    "graphical.target",
    "default.target",
    "user-configdrive.service",
];
/// systemd requires one of these settings in a service.
const ACTION_SETTINGS: [&str; 3] = ["ExecStart", "ExecStop", "SuccessAction"];
/// Commands whose job is awaited.
const STARTING: [&str; 3] = ["start", "restart", "reload-or-restart"];

pub(super) fn check(unit: &Unit, findings: &mut Vec<Finding>) {
    if unit.name.is_none() {
        warn(unit.location, "unit has no name", findings);
    }
    for drop_in in &unit.drop_ins {
        if let Some(content) = &drop_in.content
            && is_outside_of_sections(content)
        {
            warn(content.location, "drop-in content has a line outside of any section", findings);
        }
    }
    let Some(content) = &unit.content else { return };
    if let Some(name) = &unit.name
        && name.text.ends_with(".service")
        && starts_nothing(unit, content)
    {
        warn(content.location, "service has no ExecStart: systemd will not start it", findings);
    }
    if is_outside_of_sections(content) {
        warn(content.location, "unit content has a line outside of any section", findings);
    }
    let installs = content.text.lines().any(|line| line.trim() == "[Install]");
    if unit.enable && !installs {
        warn(content.location, "unit is to be enabled but has no [Install] section", findings);
    }
    let starts = unit.command.as_ref().is_some_and(|command| STARTING.contains(&&*command.text));
    if let (true, Some(target)) = (starts, ordering_conflict(content)) {
        let message = format!("unit is started here but waits for {target}, which waits for this run");
        warn(content.location, message, findings);
    }
}

/// Reports units with the name of an earlier one, which they replace.
pub(super) fn check_names(units: &[Unit], findings: &mut Vec<Finding>) {
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for name in units.iter().filter_map(|unit| unit.name.as_ref()) {
        match seen.entry(&name.text) {
            Entry::Occupied(first) => {
                let message = format!("unit {} is there twice (first at line {})", name.text, first.get());
                warn(name.location, message, findings);
            }
            Entry::Vacant(first) => {
                first.insert(name.location.line);
            }
        }
    }
}

/// Whether neither the unit nor its drop-ins define what to run.
fn starts_nothing(unit: &Unit, content: &Text) -> bool {
    let drop_ins = unit.drop_ins.iter().filter_map(|drop_in| drop_in.content.as_ref());
    let mut lines = drop_ins.chain([content]).flat_map(|text| text.text.lines());
    !lines.any(|line| {
        let key = line.split_once('=').map(|(key, _)| key.trim());
        key.is_some_and(|key| ACTION_SETTINGS.contains(&key))
    })
}

fn is_outside_of_sections(content: &Text) -> bool {
    let mut lines = content.text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    first.is_some_and(|line| !line.starts_with('['))
}

/// Returns the unit in `After=` that becomes active only after this run.
fn ordering_conflict(content: &Text) -> Option<&'static str> {
    let orders = content.text.lines().filter_map(|line| line.split_once('='));
    let mut units =
        orders.filter(|(key, _)| key.trim() == "After").flat_map(|(_, units)| units.split_whitespace());
    units.find_map(|unit| ORDERED_AFTER_CLOUDINIT.into_iter().find(|target| *target == unit))
}

fn warn(location: Location, message: impl Into<String>, findings: &mut Vec<Finding>) {
    findings.push(Finding::new(Severity::Warning, location, message));
}
