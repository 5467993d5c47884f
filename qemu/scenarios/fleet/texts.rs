//! systemd's loaded unit always matches the unit file, although daemon-reload runs only when needed: it is slow and
//! blocks systemd.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::SOON;
use super::cluster::{form, put};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const TEXTS: Scenario = Scenario {
    name: "fleet-texts",
    about: "new units start without a reload of systemd's, and each runs by the text that it has now",
    user_data: Some(super::TUTORIAL),
    by_name_on: &[Qemu],
    run: texts,
    ..DEFAULTS
};

/// Path of an administrator's unit files until the next boot.
const SYSTEM: &str = "/run/systemd/system";

fn texts(context: &Context<'_>) -> Result<(), Failure> {
    let members = form(context)?;
    let Some(member) = members.first() else { return Ok(()) };
    let machine = &member.machine;
    new_units(machine)?;
    replaced(machine)?;
    referenced_before(machine)?;
    requested_before(machine)?;
    wanted_by(machine)?;
    with_drop_in(machine)
}

/// New units, and one that reuses the name of a destroyed one.
fn new_units(machine: &Machine<'_>) -> Result<(), Failure> {
    let before = reloads(machine)?;
    put_sleep(machine, "new.service", "", 1001)?;
    put_sleep(machine, "new@.service", "", 1002)?;
    machine.succeed("fleetctl start new.service new@1.service new@2.service")?;
    for (unit, seconds) in [("new.service", 1001), ("new@1.service", 1002), ("new@2.service", 1002)] {
        runs(machine, unit, seconds)?;
    }
    destroy(machine, "new.service")?;
    put_sleep(machine, "new.service", "", 1003)?;
    machine.succeed("fleetctl start new.service")?;
    runs(machine, "new.service", 1003)?;
    let after = reloads(machine)?;
    expect(after == before, &format!("{before} reloads as before"), &after.to_string())?;
    // Otherwise `systemctl status` of any unit prints a warning.
    let changed = machine
        .succeed("systemctl show --property=NeedDaemonReload --value etcd.service new.service | xargs")?;
    expect(changed.trim() == "no no", "no unit that systemd takes for changed", &changed)
}

/// The content changes while systemd has the unit loaded.
fn replaced(machine: &Machine<'_>) -> Result<(), Failure> {
    put_sleep(machine, "new.service", "", 1004)?;
    machine.succeed("fleetctl start --replace new.service")?;
    runs(machine, "new.service", 1004)?;
    machine.succeed("fleetctl load new.service")?;
    put_sleep(machine, "new.service", "", 1005)?;
    machine.succeed("fleetctl load --replace new.service && fleetctl start new.service")?;
    runs(machine, "new.service", 1005)
}

/// A unit that another one references: systemd has it loaded before its file exists and after it is removed.
fn referenced_before(machine: &Machine<'_>) -> Result<(), Failure> {
    put_sleep(machine, "names.service", "[Unit]\nAfter=named.service\n", 1006)?;
    machine.succeed("fleetctl start names.service")?;
    runs(machine, "names.service", 1006)?;
    let load = |state: &str| {
        let row = "systemctl list-units --all --plain --no-legend named.service | grep ' $state '";
        machine.wait_until_succeeds(&row.replace("$state", state), SOON)
    };
    for seconds in [1007, 1008] {
        load("not-found")?;
        put_sleep(machine, "named.service", "", seconds)?;
        machine.succeed("fleetctl start named.service")?;
        runs(machine, "named.service", seconds)?;
        load("loaded")?;
        destroy(machine, "named.service")?;
    }
    Ok(())
}

/// The unit was requested before it existed.
fn requested_before(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.fail("sudo systemctl start late.service")?;
    put_sleep(machine, "late.service", "", 1009)?;
    machine.succeed("fleetctl start late.service")?;
    runs(machine, "late.service", 1009)
}

/// Its `WantedBy=` unit is active already: it starts once it is loaded and systemd has reloaded.
fn wanted_by(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.write("/home/core/group.target", b"[Unit]\nDescription=All that belongs together\n")?;
    machine.succeed(&format!(
        "sudo mv group.target {SYSTEM} && sudo systemctl daemon-reload && sudo systemctl start group.target"
    ))?;
    put(
        machine,
        "wanted.service",
        "[Service]\nExecStart=/usr/bin/sleep 1010\n[Install]\nWantedBy=group.target\n",
    )?;
    let before = reloads(machine)?;
    machine.succeed("fleetctl load wanted.service")?;
    let wants = "systemctl show --property=Wants --value group.target | grep -x wanted.service";
    machine.wait_until_succeeds(wants, SOON)?;
    let after = reloads(machine)?;
    expect(after > before, &format!("more than {before} reloads"), &after.to_string())?;
    machine.succeed("fleetctl start wanted.service")?;
    runs(machine, "wanted.service", 1010)?;
    destroy(machine, "wanted.service")?;
    machine.wait_until_fails(wants, SOON)?;
    Ok(())
}

/// A drop-in that was written without daemon-reload is applied.
fn with_drop_in(machine: &Machine<'_>) -> Result<(), Failure> {
    let folder = format!("{SYSTEM}/dressed.service.d");
    machine.succeed(&format!(
        "sudo mkdir {folder} && printf '[Service]\\nEnvironment=A=b\\n' | sudo tee {folder}/10-a.conf"
    ))?;
    put_sleep(machine, "dressed.service", "", 1011)?;
    machine.succeed("fleetctl start dressed.service")?;
    runs(machine, "dressed.service", 1011)?;
    machine.succeed("systemctl show --property=Environment --value dressed.service | grep -x A=b")?;
    Ok(())
}

fn put_sleep(machine: &Machine<'_>, name: &str, before: &str, seconds: u32) -> Result<(), Failure> {
    put(machine, name, &format!("{before}[Service]\nExecStart=/usr/bin/sleep {seconds}\n"))
}

/// Waits until its process runs this content and the cluster reports so.
fn runs(machine: &Machine<'_>, unit: &str, seconds: u32) -> Result<(), Failure> {
    let process = format!(
        "tr '\\0' ' ' </proc/$(systemctl show --property=MainPID --value {unit})/cmdline | \
         grep -x '/usr/bin/sleep {seconds} '"
    );
    machine.wait_until_succeeds(&process, SOON)?;
    let listed = format!(
        "fleetctl list-units --no-legend --fields=unit,active,sub | grep -P '^{unit}\\t+active\\t+running$'"
    );
    machine.wait_until_succeeds(&listed, SOON)?;
    Ok(())
}

/// Destroys the unit and waits until its machine has no trace of it.
fn destroy(machine: &Machine<'_>, unit: &str) -> Result<(), Failure> {
    machine.succeed(&format!("fleetctl destroy {unit}"))?;
    machine.wait_until_fails(&format!("test -e /run/fleet/units/{unit}"), SOON)?;
    Ok(())
}

/// Number of completed daemon-reloads.
fn reloads(machine: &Machine<'_>) -> Result<usize, Failure> {
    let output = machine.succeed("sudo journalctl --no-pager --output=cat --boot _PID=1")?;
    Ok(output.lines().filter(|line| line.starts_with("Reloading finished")).count())
}
