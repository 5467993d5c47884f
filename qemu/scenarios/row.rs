//! Runs several scenarios on the same machines, which boot once: on emulated machines a boot takes as long as most
//! scenarios.
//!
//! A scenario whose machines use a port of the host is in no row: they reach the ports that were exposed before they
//! started.
//!
//! After each scenario, stopped machines are started, and its units, keys and files are removed. The state of the
//! machines must then equal that after the boot.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::kv::{FORMED, NODES, SOON, USER_DATA};
use super::{fleet, kv, kv_faults, kv_recovery, power, tutorials};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

// The last one replaces the cluster.
const IN_STORE: &[&Scenario] = &[&kv::MOVES, &kv::LEADER_DIES, &kv_faults::BAD_DISK, &kv_recovery::RESTORE];
const IN_FLEET: &[&Scenario] =
    &[&fleet::commands::COMMANDS, &fleet::limits::LIMITS, &fleet::refused::REFUSED];
const IN_MEMBERS: &[&Scenario] =
    &[&fleet::bus::BUS, &fleet::partition::PARTITION, &fleet::machine_dies::MACHINE_DIES];
const IN_MACHINE: &[&Scenario] = &[&power::REBOOTS, &power::KILLED, &tutorials::from_file::FROM_FILE];

pub const STORE: Scenario = Scenario {
    name: "row-kv",
    about: "kv-service-moves, kv-leader-dies, kv-bad-disk and kv-restore pass on the same machines",
    nodes: NODES,
    user_data: Some(USER_DATA),
    run: |context| in_a_row(context, IN_STORE),
    ..ROW
};

pub const FLEET: Scenario = Scenario {
    name: "row-fleet",
    about: "fleet, fleet-limits and fleet-refused pass on the same machines",
    nodes: NODES,
    user_data: Some(fleet::TUTORIAL),
    run: |context| in_a_row(context, IN_FLEET),
    ..ROW
};

pub const MEMBERS: Scenario = Scenario {
    name: "row-members",
    about: "fleet-bus, fleet-partition and fleet-machine-dies pass on the same machines",
    nodes: NODES,
    shared: fleet::partition::PARTITION.shared,
    run: |context| {
        context.site.set_user_data(fleet::cluster::impatient(context).as_bytes())?;
        in_a_row(context, IN_MEMBERS)
    },
    ..ROW
};

pub const MACHINE: Scenario = Scenario {
    name: "row-machine",
    about: "reboot, killed and from-file pass on the same machine",
    run: |context| in_a_row(context, IN_MACHINE),
    ..ROW
};

const ROW: Scenario = Scenario { on: &[Qemu], long_on: &[Qemu], ..DEFAULTS };

/// State of a machine: failed units, units that a scenario started, changes of `/etc`.
const MACHINE_STATE: &str = "systemctl --failed --no-legend --plain; \
    ls /run/systemd/transient | grep '\\.service$'; ls /run/fleet/units 2>/dev/null; sudo keelson-etc diff; true";
/// State of the cluster: members and their health, keys, machines, units. The machines' keys are those of
/// locksmith.
const CLUSTER_STATE: &str = "if systemctl is-active --quiet etcd; then etcdctl cluster-health | sort; \
    etcdctl ls | grep -v '^/coreos.com$'; fi; \
    if systemctl is-active --quiet fleet; then fleetctl list-machines; fleetctl list-unit-files --no-legend; fi";
/// Files that scenarios write outside of `/etc`: new files in these folders, and some by name.
const FILES: &str = "find /tmp /home/core -maxdepth 1 -type f 2>/dev/null | sort";
const RUN_FILES: &str = "/run/acknowledged* /run/enough /run/routes";
/// Services that the user-data of a row may start, each with a command that prints a line per machine.
const SERVICES: [(&str, &str); 2] = [
    ("etcd.service", "etcdctl cluster-health | grep ' is healthy: '"),
    ("fleet.service", "fleetctl list-machines --no-legend"),
];

/// Runs scenarios on machines that boot once.
fn in_a_row(context: &Context<'_>, scenarios: &[&Scenario]) -> Result<(), Failure> {
    context.boot()?;
    let machines: Vec<_> = (1..=scenarios[0].nodes).map(|number| context.machine(number)).collect();
    let first = State::of(&machines)?;
    for (index, scenario) in scenarios.iter().enumerate() {
        let of = |failure: Failure| Failure::Expected(format!("{}: {}", scenario.name, failure.chain()));
        let begun = Instant::now();
        (scenario.run)(context).map_err(of)?;
        eprintln!("{} passed in {:.0?}", scenario.name, begun.elapsed());
        if index + 1 < scenarios.len() {
            clean_up(context, scenario, &machines, &first)
                .and_then(|()| first.wait_for(&machines))
                .map_err(of)?;
        }
    }
    Ok(())
}

/// The state of all machines after their boot.
struct State {
    /// Outputs of [`MACHINE_STATE`] and [`CLUSTER_STATE`], by machine.
    shown: Vec<[String; 2]>,
    files: Vec<BTreeSet<String>>,
}

impl State {
    fn of(machines: &[Machine<'_>]) -> Result<Self, Failure> {
        let mut state = Self { shown: Vec::new(), files: Vec::new() };
        for (unit, members) in SERVICES {
            for machine in machines {
                if machine.execute(&format!("systemctl is-active {unit}"))?.stdout.trim() != "inactive" {
                    machine.wait_for_unit(unit, FORMED)?;
                    let all = format!("test $({members} | wc -l) = {}", machines.len());
                    machine.wait_until_succeeds(&all, SOON)?;
                }
            }
        }
        for machine in machines {
            state.shown.push([machine.succeed(MACHINE_STATE)?, machine.succeed(CLUSTER_STATE)?]);
            state.files.push(files(machine)?);
        }
        Ok(state)
    }

    /// Waits until every machine has this state again: units may need a while to stop.
    fn wait_for(&self, machines: &[Machine<'_>]) -> Result<(), Failure> {
        for (machine, [own, of_cluster]) in machines.iter().zip(&self.shown) {
            for (command, was) in [(MACHINE_STATE, own), (CLUSTER_STATE, of_cluster)] {
                let deadline = Instant::now() + SOON;
                loop {
                    let is = machine.succeed(command)?;
                    if is == *was {
                        break;
                    }
                    let in_time = Instant::now() < deadline;
                    expect(
                        in_time,
                        &format!("the first state of {}: {was:?}", machine.name()),
                        &format!("{is:?}"),
                    )?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
        Ok(())
    }
}

fn files(machine: &Machine<'_>) -> Result<BTreeSet<String>, Failure> {
    Ok(machine.succeed(FILES)?.lines().map(str::to_owned).collect())
}

/// Removes what a scenario leaves on its machines.
fn clean_up(
    context: &Context<'_>,
    scenario: &Scenario,
    machines: &[Machine<'_>],
    first: &State,
) -> Result<(), Failure> {
    for machine in machines {
        if machine.node()?.process.is_none_or(|process| !process.alive()) {
            machine.start()?;
        }
    }
    machines[0].succeed(
        "if systemctl is-active --quiet fleet; then \
         fleetctl list-unit-files --no-legend --fields=unit | xargs -r fleetctl destroy; fi",
    )?;
    for (machine, before) in machines.iter().zip(&first.files) {
        machine.succeed(
            "for unit in $(ls /run/systemd/transient | grep '\\.service$'); do sudo systemctl stop $unit; done; \
             sudo systemctl reset-failed",
        )?;
        machine.succeed(&format!("sudo rm -f {RUN_FILES}"))?;
        let new: Vec<String> = files(machine)?.difference(before).cloned().collect();
        if !new.is_empty() {
            machine.succeed(&format!("sudo rm -f {}", new.join(" ")))?;
        }
    }
    machines[0].succeed(
        "if systemctl is-active --quiet etcd; then \
         etcdctl ls | grep -v '^/coreos.com$' | xargs -r -n 1 etcdctl rm --recursive; fi",
    )?;
    for number in 1..=scenario.shared.len() {
        let path = context.shared(number);
        let failed = |source| Failure::Disk { path: path.clone(), source };
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use machines::cluster::BackendKind::Nspawn;

    use super::super::ALL;
    use super::super::netboot_time::NETBOOT_TIME;
    use super::*;

    const ROWS: [(&Scenario, &[&Scenario]); 4] =
        [(&STORE, IN_STORE), (&FLEET, IN_FLEET), (&MEMBERS, IN_MEMBERS), (&MACHINE, IN_MACHINE)];

    #[test]
    fn each_scenario_of_a_row_runs_in_one_on_machines_that_it_could_have_alone() {
        for scenario in ALL.iter().filter(|scenario| scenario.by_name_on.contains(&Qemu)) {
            let runs = |scenarios: &[&Scenario]| scenarios.iter().any(|one| one.name == scenario.name);
            let rows = ROWS.iter().filter(|(_, scenarios)| runs(scenarios)).count();
            let on_nspawn = scenario.on.contains(&Nspawn) && !scenario.long_on.contains(&Nspawn);
            let is_benchmark = scenario.name == NETBOOT_TIME.name;
            assert!(
                rows == 1 || rows == 0 && (on_nspawn || is_benchmark),
                "{} runs in {rows} rows",
                scenario.name
            );
        }
        for (row, scenarios) in ROWS {
            assert!(ALL.iter().any(|scenario| scenario.name == row.name), "{}", row.name);
            for scenario in scenarios {
                assert!(scenario.by_name_on.contains(&Qemu), "{} would run twice", scenario.name);
                assert!(row.about.contains(scenario.name), "{}: {}", row.name, scenario.name);
                let needs = |of: &Scenario| {
                    (
                        of.nodes,
                        of.shared,
                        of.outbound,
                        of.tls,
                        of.secure_boot,
                        of.format,
                        of.hardware,
                        of.spare_disk_gib,
                        of.qemu_arguments,
                    )
                };
                assert_eq!(needs(row), needs(scenario), "{}", scenario.name);
            }
        }
    }
}
