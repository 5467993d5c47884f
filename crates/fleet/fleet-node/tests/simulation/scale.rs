//! Load of the store and of machines as clusters grow.

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::RequestKind::{
    self, Claim, DesiredState, Lease, Other, Presence, Snapshot, State, Target,
};
use fleet_simulation::in_virtual_time;
use fleet_simulation::mass_start::{Measurement, measure};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

/// One write by the client, then three: target, claim and active state.
#[test]
fn a_start_costs_the_same_on_few_machines_and_on_many() {
    let (few, many) = (measure(3, 60), measure(30, 600));
    let each = |seen: &Measurement| seen.requests_per_unit(&[DesiredState, Target, Claim, State]);
    for (machines, seen) in [(3, &few), (30, &many)] {
        let Measurement { submitted, converged, cpu_time, .. } = seen;
        let requests = each(seen);
        eprintln!(
            "{machines} machines: {requests:.2} requests a unit; ordered in {submitted:?}, active in {converged:?}; {cpu_time:?}"
        );
    }
    assert!(each(&few) < 4.1 && each(&many) < 4.1, "{} {}", each(&few), each(&many));
    for (machines, seen) in [(3, few), (30, many)] {
        let count = |about: RequestKind| seen.idle.get(&about).copied().unwrap_or(0);
        // Two keys each 15 s, and one full read about each minute.
        assert_eq!(count(Presence), machines * 8, "{:?}", seen.idle);
        assert!(count(Snapshot) <= machines * 2 && count(Lease) <= 31, "{:?}", seen.idle);
        // No machine queries all others, nor the store about them.
        assert_eq!(count(Other), 0, "{:?}", seen.idle);
    }
}

/// A pass checks all units of a machine: a global unit that restarts on each of a thousand machines would cause a
/// thousand passes on each.
#[test]
fn a_global_unit_that_restarts_makes_no_work_on_other_machines() {
    const MACHINES: usize = 5;
    const RESTARTS: usize = 60;
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(MACHINES, 1);
        (0..MACHINES).for_each(|number| cluster.start(number));
        sleep(Duration::from_secs(5)).await;
        let name = UnitName::parse("everywhere.service").unwrap();
        let text = "[Service]\nExecStart=/a\n[X-Fleet]\nGlobal=true\n";
        let requests = |number: usize| cluster.hosts[number].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text(text).unwrap();
        requests(0).create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(cluster.ledger.starts(), MACHINES);
        let passes = |number: usize| -> usize {
            let text = requests(number).metrics.text();
            let line = text.lines().find_map(|line| line.strip_prefix("fleet_agent_reconcile_count_total "));
            line.unwrap().parse().unwrap()
        };
        let before = passes(1);
        for _ in 0..RESTARTS {
            for state in ["failed", "active"] {
                cluster.hosts[0].systemd.set_active_state(&name, state);
                sleep(Duration::from_millis(500)).await;
            }
        }
        // One pass per five seconds, and one per heartbeat.
        let made = passes(1) - before;
        assert!(made <= RESTARTS / 3, "{made} passes for {RESTARTS} restarts elsewhere");
    });
}
