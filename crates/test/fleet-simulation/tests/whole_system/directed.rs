//! What the seeds have found, each by itself.

use std::time::Duration;

use fleet_simulation::{Options, World, in_virtual_time};
use tokio::time::sleep;

use crate::chance;
use crate::members::MEMBERS;
use crate::store::Whole;

const TTL: Duration = Duration::from_secs(10);
const MACHINES: usize = 3;
const UNITS: usize = 6;

async fn at_rest() -> World<Whole> {
    let mut random = fastrand::Rng::with_seed(1);
    let service = Whole::new(random.fork());
    // Until there is a leader.
    sleep(Duration::from_secs(10)).await;
    let options = Options { ttl: TTL, ..Options::USUAL };
    World::of(MACHINES, service, random, options).with_units(UNITS).await
}

fn run(test: impl AsyncFnOnce(World<Whole>)) {
    chance::seed_this_thread(1);
    in_virtual_time(async { test(at_rest().await).await });
}

/// The leader follows a member that is cut off, and learns seconds late that a machine's presence had ended: the machine has
/// registered again, and runs its units.
#[test]
fn a_machine_that_is_back_is_not_taken_for_dead() {
    for (member, machine) in
        (0..MEMBERS).flat_map(|member| (0..MACHINES).map(move |machine| (member, machine)))
    {
        run(async |world| {
            world.service.members.cut_off(member);
            sleep(Duration::from_secs(1)).await;
            world.set_cut(machine, true);
            sleep(TTL + Duration::from_secs(1)).await;
            world.set_cut(machine, false);
            sleep(Duration::from_millis(1_500)).await;
            world.service.members.heal();
            sleep(TTL * 3).await;
            assert_eq!(world.faults(), Vec::<String>::new(), "member {member}, machine {machine}");
            assert_eq!(world.ledger.count(), UNITS);
        });
    }
}
