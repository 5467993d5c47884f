//! fleet's functional tests, under their original names.
//!
//! Tests that need the same machines share them: each one starts with a cluster without units and with fleetd on
//! all machines.

mod client;
pub mod fixture;
mod machines_api;
mod members;
mod replace;
mod schedule;
mod server;
mod unit_actions;
mod units;

use machines::cluster::BackendKind::Qemu;

use super::super::kv::NODES;
use crate::failure::Failure;
use crate::scenario::{Context, DEFAULTS, Scenario};
use fixture::Fixture;

pub const FUNCTIONAL: Scenario = Scenario {
    name: "fleet-functional",
    about: "the original's functional tests of clients, units and their places hold on up to three machines",
    nodes: NODES,
    shared: &[fixture::UNITS],
    by_name_on: &[Qemu],
    run: |context| on_three(&Fixture::form(context, |name| user_data(context, name))?),
    ..DEFAULTS
};

pub const MEMBERS: Scenario = Scenario {
    name: "fleet-members",
    about: "the original's functional tests of machines that come, go and meet their double hold on four machines",
    nodes: NODES + 1,
    shared: &[fixture::UNITS],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: |context| run(&Fixture::form(context, |name| user_data(context, name))?, ON_FOUR),
    ..DEFAULTS
};

pub const SERVER: Scenario = Scenario {
    name: "fleet-server",
    about: "the original's functional tests of one fleetd hold whose store is on another machine, and can be cut off",
    nodes: 2,
    shared: &[fixture::UNITS],
    by_name_on: &[Qemu],
    run: |context| run(&server::form(context)?, ON_ONE),
    ..DEFAULTS
};

struct Test {
    name: &'static str,
    run: fn(&Fixture<'_>) -> Result<(), Failure>,
}

/// Pairs each test with the name of its function.
macro_rules! tests {
    ($($module:ident: $($test:ident)*;)*) => { &[$($(Test { name: stringify!($test), run: $module::$test },)*)*] };
}

const ON_THREE: &[Test] = tests! {
    client: client_version_flag client_version_help_output client_help_flag fleetctl_with_env
        known_hosts_verification tunnel_schedule_batch_units;
    machines_api: machines_list machines_list_bad_next_page_token machines_patch_add_modify machines_patch_delete
        machines_patch_bad;
    units: unit_submit unit_load unit_start unit_restart unit_cat list_unit_files_order;
    replace: unit_submit_replace unit_load_replace unit_start_replace;
    unit_actions: unit_ssh_actions unit_status install_unit;
    schedule: schedule_machine_of schedule_conflicts schedule_multiple_conflicts schedule_condition_machine_id
        templates_with_specifiers_in_metadata schedule_global_units schedule_global_conflicts;
    // These reduce the cluster to two machines, then to one.
    schedule: schedule_replace schedule_circular_replace schedule_one_way_conflict;
    units: unit_runnable;
};

const ON_FOUR: &[Test] = tests! {
    members: dynamic_cluster_new_member_unit_migration dynamic_cluster_member_reboot node_shutdown detect_machine_id;
};

const ON_ONE: &[Test] = tests! {
    server: reconfigure_server single_node_connectivity_loss shutdown shutdown_vs_monitor;
};

/// Runs all tests even if some fail; stops early only if units cannot be removed.
fn run(fixture: &Fixture<'_>, tests: &[Test]) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for test in tests {
        if let Err(failure) = (test.run)(fixture) {
            failures.push(format!("{}: {}", test.name, failure.chain()));
        }
        if let Err(failure) = fixture.clear() {
            failures.push(format!("after {}: {}", test.name, failure.chain()));
            break;
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Expected(failures.join("\n"))) }
}

/// Runs the tests for three machines with fleetd.
pub fn on_three(fixture: &Fixture<'_>) -> Result<(), Failure> {
    run(fixture, ON_THREE)
}

/// Lines below `coreos.fleet`, with the machine's name as metadata.
pub fn settings(context: &Context<'_>, name: &str) -> [String; 2] {
    [format!("agent-ttl: {}s", fixture::ttl(context).as_secs()), format!("metadata: hostname={name}")]
}

fn user_data(context: &Context<'_>, name: &str) -> String {
    super::cluster::user_data(&settings(context, name), fixture::API)
}

#[cfg(test)]
mod names {
    use super::*;

    /// All 43 tests of the original.
    const ORIGINAL: &str = "
        TestClientVersionFlag TestClientVersionHelpOutput TestClientHelpFlag TestFleetctlWithEnv
        TestKnownHostsVerification TestTunnelScheduleBatchUnits TestUnitRunnable TestUnitSubmit TestUnitLoad
        TestUnitStart TestUnitRestart TestUnitSubmitReplace TestUnitLoadReplace TestUnitStartReplace
        TestUnitSSHActions TestUnitCat TestUnitStatus TestListUnitFilesOrder TestInstallUnit TestScheduleMachineOf
        TestScheduleConflicts TestScheduleOneWayConflict TestScheduleMultipleConflicts TestScheduleReplace
        TestScheduleCircularReplace TestScheduleConditionMachineID TestTemplatesWithSpecifiersInMetadata
        TestScheduleGlobalUnits TestScheduleGlobalConflicts TestDynamicClusterNewMemberUnitMigration
        TestDynamicClusterMemberReboot TestNodeShutdown TestDetectMachineId TestSingleNodeConnectivityLoss
        TestReconfigureServer TestShutdown TestShutdownVsMonitor TestSystemdUnitFlow TestMachinesList
        TestMachinesListBadNextPageToken TestMachinesPatchAddModify TestMachinesPatchDelete TestMachinesPatchBad";

    /// A test that needs no cluster and is part of its crate.
    const ELSEWHERE: &str = include_str!("../../../crates/fleet/systemd-units/tests/systemd/flow.rs");
    const UNIT_FLOW: &str = "#[tokio::test]\nasync fn test_systemd_unit_flow() {";

    /// Converts `TestUnitSSHActions` to `unit_ssh_actions`.
    fn in_snake_case(name: &str) -> String {
        let letters: Vec<char> = name.trim_start_matches("Test").chars().collect();
        let mut text = String::new();
        for (at, letter) in letters.iter().enumerate() {
            let after_small = at > 0 && letters[at - 1].is_lowercase();
            let before_small = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
            if letter.is_uppercase() && at > 0 && (after_small || before_small) {
                text.push('_');
            }
            text.extend(letter.to_lowercase());
        }
        text
    }

    #[test]
    fn every_test_of_the_original_is_run() {
        assert_eq!(in_snake_case("TestUnitSSHActions"), "unit_ssh_actions");
        assert_eq!(in_snake_case("TestScheduleConditionMachineID"), "schedule_condition_machine_id");
        let mut expected: Vec<_> = ORIGINAL.split_whitespace().map(in_snake_case).collect();
        assert_eq!(expected.len(), 43);
        let mut run: Vec<_> =
            [ON_THREE, ON_FOUR, ON_ONE].into_iter().flatten().map(|test| test.name.to_owned()).collect();
        if ELSEWHERE.contains(UNIT_FLOW) {
            run.push("systemd_unit_flow".to_owned());
        }
        expected.sort();
        run.sort();
        assert_eq!(run, expected);
        for scenario in [&FUNCTIONAL, &MEMBERS, &SERVER] {
            assert!(
                super::super::super::ALL.iter().any(|known| known.name == scenario.name),
                "{}",
                scenario.name
            );
        }
    }
}
