//! How much the store is asked, and how much machines do, as clusters grow.

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::About::{self, Claim, Lease, Order, Other, Presence, Reading, State, Target};
use fleet_simulation::all_at_once::{Seen, start};
use fleet_simulation::in_virtual_time;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::World;

/// One asks for it. Then three: one gives it a machine, one claims it, one tells that it is active.
#[test]
fn a_start_costs_the_same_on_few_machines_and_on_many() {
    let (few, many) = (start(3, 60), start(30, 600));
    let each = |seen: &Seen| seen.each(&[Order, Target, Claim, State]);
    for (machines, seen) in [(3, &few), (30, &many)] {
        let Seen { ordered, converged, processor, .. } = seen;
        let requests = each(seen);
        eprintln!(
            "{machines} machines: {requests:.2} requests a unit; ordered in {ordered:?}, active in {converged:?}; {processor:?}"
        );
    }
    assert!(each(&few) < 4.1 && each(&many) < 4.1, "{} {}", each(&few), each(&many));
    for (machines, seen) in [(3, few), (30, many)] {
        let of = |about: About| seen.idle.get(&about).copied().unwrap_or(0);
        // Two keys each quarter of a minute, and a reading about each minute.
        assert_eq!(of(Presence), machines * 8, "{:?}", seen.idle);
        assert!(of(Reading) <= machines * 2 && of(Lease) <= 31, "{:?}", seen.idle);
        // Above all nobody asks all others, nor the store for them.
        assert_eq!(of(Other), 0, "{:?}", seen.idle);
    }
}

/// A pass looks at all units of a machine: on a thousand machines a global unit that restarts on each would have each of them
/// make a thousand.
#[test]
fn a_global_unit_that_restarts_makes_no_work_on_other_machines() {
    const MACHINES: usize = 5;
    const RESTARTS: usize = 60;
    in_virtual_time(async {
        let mut world = World::bare(MACHINES, 1);
        (0..MACHINES).for_each(|number| world.start(number));
        sleep(Duration::from_secs(5)).await;
        let name = UnitName::parse("everywhere.service").unwrap();
        let text = "[Service]\nExecStart=/a\n[X-Fleet]\nGlobal=true\n";
        let requests = |number: usize| world.places[number].node.as_ref().unwrap().requests();
        let file = UnitFile::from_text(text).unwrap();
        requests(0).create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(world.ledger.starts(), MACHINES);
        let passes = |number: usize| -> usize {
            let text = requests(number).metrics.text();
            let line = text.lines().find_map(|line| line.strip_prefix("fleet_agent_reconcile_count_total "));
            line.unwrap().parse().unwrap()
        };
        let before = passes(1);
        for _ in 0..RESTARTS {
            for state in ["failed", "active"] {
                world.places[0].machine.shows(&name, state);
                sleep(Duration::from_millis(500)).await;
            }
        }
        // One each five seconds, and one with each beat, whatever happens.
        let made = passes(1) - before;
        assert!(made <= RESTARTS / 3, "{made} passes for {RESTARTS} restarts elsewhere");
    });
}
