//! Plans units: files, drop-ins, masks, enabling and commands.

use std::sync::Arc;

use super::files::TIME_SERVERS_PATH;
use super::step::{Action, FileKind, FileWrite, Plan, When};
use crate::check::{Checked, CheckedService, CheckedUnit, UnitDirectory};

const UNIT_MODE: u32 = 0o644;
pub(crate) const SERVICE_DROP_IN: &str = "20-cloudinit.conf";
const LOCKSMITH_UNIT: &str = "locksmithd.service";
const UPDATE_UNIT: &str = "update-engine.service";
const TIME_UNIT: &str = "systemd-timesyncd.service";
const NETWORK_UNIT: &str = "systemd-networkd.service";

/// Services that are restarted if they run and their drop-in changes. Not etcd: changing the options of all
/// members would restart them in quick succession.
const TRY_RESTART_UNITS: [(&str, &str); 2] = [
    ("fleet.service", "/run/systemd/system/fleet.service.d/20-cloudinit.conf"),
    (LOCKSMITH_UNIT, "/run/systemd/system/locksmithd.service.d/20-cloudinit.conf"),
];

/// Which daemons must reload.
struct Changes {
    units: bool,
    network: bool,
}

/// `network_files`: files for networkd precede. `deferred` is inserted after the units' files.
pub(super) fn plan(checked: &Checked, network_files: bool, deferred: Vec<Action>, plan: &mut Plan) {
    let mut changes = Changes { units: false, network: network_files };
    for unit in &checked.units {
        plan_unit(unit, &mut changes, plan);
    }
    let strategy = checked.update.reboot_strategy.as_deref();
    for service in &checked.services {
        // Must not be unmasked if the strategy masks it: each run would change it twice.
        let masked = strategy == Some("off") && service.service.unit == Some(LOCKSMITH_UNIT);
        options(service, masked, &mut changes, plan);
    }
    match strategy {
        Some("off") => {
            plan.push(Action::Mask { path: runtime_path(LOCKSMITH_UNIT) }, "reboot_strategy is off");
            changes.units = true;
        }
        Some(_) => {
            let why = "reboot_strategy requires it";
            plan.push(Action::Unmask { path: runtime_path(LOCKSMITH_UNIT) }, why);
        }
        None => {}
    }
    for write in deferred {
        plan.push(write, "named in write_files, deferred");
    }
    if changes.units {
        plan.push(Action::DaemonReload, "units were written");
    }
    if changes.network {
        command(NETWORK_UNIT, "restart", When::NetworkChanged, "network units were written", plan);
    }
    if !checked.system.time_servers.is_empty() {
        let when = When::Written(TIME_SERVERS_PATH);
        command(TIME_UNIT, "restart", when, "the time servers were written", plan);
    }
    for service in checked.services.iter().filter(|service| !service.variables.is_empty()) {
        // The reboot strategy restarts or stops it below.
        let covered_by_strategy = strategy.is_some() && service.service.unit == Some(LOCKSMITH_UNIT);
        if covered_by_strategy {
            continue;
        }
        if let Some((unit, path)) =
            TRY_RESTART_UNITS.iter().find(|(unit, _)| service.service.unit == Some(unit))
        {
            command(unit, "try-restart", When::Written(path), "its options were written", plan);
        }
    }
    commands(checked, strategy, plan);
}

fn commands(checked: &Checked, strategy: Option<&str>, plan: &mut Plan) {
    for unit in &checked.units {
        if let Some(name) = &unit.command
            && unit.directory() == UnitDirectory::System
        {
            command(&unit.name, name, When::Requested, "command of the unit", plan);
        }
    }
    match strategy {
        Some("off") => command(LOCKSMITH_UNIT, "stop", When::Implied, "reboot_strategy is off", plan),
        Some(_) => command(LOCKSMITH_UNIT, "restart", When::Implied, "reboot_strategy is set", plan),
        None => {}
    }
    if checked.update.group.is_some() || checked.update.server.is_some() {
        command(UPDATE_UNIT, "restart", When::Implied, "the update group or server is set", plan);
    }
}

fn command(unit: &str, command: &str, when: When, why: &str, plan: &mut Plan) {
    plan.push(Action::Unit { unit: unit.to_owned(), command: command.to_owned(), when }, why);
}

fn plan_unit(unit: &CheckedUnit, changes: &mut Changes, plan: &mut Plan) {
    let network = unit.directory() == UnitDirectory::Network;
    let base = if unit.runtime { "/run/systemd" } else { "/etc/systemd" };
    let directory = format!("{base}/{}", if network { "network" } else { "system" });
    let path = format!("{directory}/{}", unit.name);
    changes.network |= network;
    if let Some(content) = &unit.content {
        let kind = FileKind::Unit { name: unit.name.clone(), network };
        write(path.clone(), Arc::from(content.clone()), kind, "content of the unit", plan);
        changes.units = true;
    }
    for drop_in in &unit.drop_ins {
        let kind = FileKind::DropIn { unit: unit.name.clone(), name: drop_in.name.clone(), network };
        let path = format!("{path}.d/{}", drop_in.name);
        write(path, Arc::from(drop_in.content.clone()), kind, "drop-in of the unit", plan);
        changes.units = true;
    }
    if unit.mask {
        plan.push(Action::Mask { path }, "mask of the unit");
        changes.units = true;
    } else if unit.runtime && unit.content.is_none() {
        plan.push(Action::Unmask { path }, "a runtime unit that is not to be masked");
    }
    if unit.enable && network {
        plan.notes.push(format!("Skipping enable for network-like unit {:?}", unit.name));
    } else if unit.enable {
        let action = Action::Enable { unit: unit.name.clone(), runtime: unit.runtime };
        plan.push(action, "enable of the unit");
        changes.units = true;
    }
}

/// Writes a service's options to a drop-in, and ensures that the unit can be started.
fn options(options: &CheckedService, masked: bool, changes: &mut Changes, plan: &mut Plan) {
    let Some(unit) = options.service.unit else { return };
    let block = options.service.block;
    if !options.variables.is_empty() {
        let content = environment(&options.variables);
        let kind =
            FileKind::DropIn { unit: unit.to_owned(), name: SERVICE_DROP_IN.to_owned(), network: false };
        let path = format!("/run/systemd/system/{unit}.d/{SERVICE_DROP_IN}");
        write(path, Arc::from(content.into_bytes()), kind, &format!("coreos.{block}"), plan);
        changes.units = true;
    }
    if !masked {
        plan.push(Action::Unmask { path: runtime_path(unit) }, format!("{unit} must be startable"));
    }
}

/// Formats a drop-in that sets `variables`.
pub(crate) fn environment(variables: &[(String, Arc<str>)]) -> String {
    let lines = variables.iter().map(|(name, value)| format!("Environment=\"{name}={}\"\n", escape(value)));
    format!("[Service]\n{}", lines.collect::<String>())
}

/// Escapes quotes and specifiers for a unit file.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

fn runtime_path(unit: &str) -> String {
    format!("/run/systemd/system/{unit}")
}

fn write(path: String, content: Arc<[u8]>, kind: FileKind, why: &str, plan: &mut Plan) {
    let write = FileWrite { path, mode: UNIT_MODE, owner: String::new(), content, kind };
    plan.push(Action::Write(write), why);
}
