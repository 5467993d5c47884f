//! How much the store is asked as clusters grow.

use fleet_simulation::About::{self, Claim, Lease, Order, Other, Presence, Reading, State, Target};
use fleet_simulation::all_at_once::{Seen, start};

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
