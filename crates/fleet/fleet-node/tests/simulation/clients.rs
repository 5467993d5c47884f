//! What clients ask while the store does not answer.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use fleet_core::{Cordon, JobState, MachineId};
use fleet_node::{Requests, StoreError};
use fleet_simulation::memory::MemoryLink;
use fleet_simulation::{Service as _, in_virtual_time};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::World;

const UNITS: usize = 3;
/// As a disk that is slow for a moment: longer than one question to the store may take.
const MOMENT: Duration = Duration::from_millis(1500);
/// What fleetctl waits for an answer.
const CLIENT: Duration = Duration::from_secs(3);

fn requests(world: &World) -> Requests<MemoryLink> {
    world.places[0].node.as_ref().unwrap().requests()
}

async fn through(
    world: &World,
    silence: fn(&World, bool),
    asked: impl Future<Output = Result<(), StoreError>>,
) {
    let begun = Instant::now();
    silence(world, true);
    let (outcome, ()) = tokio::join!(asked, async {
        sleep(MOMENT).await;
        silence(world, false);
    });
    assert_eq!(outcome, Ok(()));
    assert!(begun.elapsed() < CLIENT, "{:?}", begun.elapsed());
}

fn run(test: impl AsyncFnOnce(World)) {
    in_virtual_time(async { test(World::at_rest(3, UNITS).await).await });
}

/// Each request once, through such a silence; what it did is to be known here so long after its answer.
async fn each(world: &World, silence: fn(&World, bool), known_after: Duration) {
    let requests = requests(world);
    let machine = MachineId::new(&world.places[1].id);
    let name = UnitName::parse("late.service").unwrap();
    let file = UnitFile::from_text("[Service]\nExecStart=/bin/true\n").unwrap();
    let desired = async || {
        sleep(known_after).await;
        requests.known.look(|view| view.unit(&name).map(|unit| unit.desired))
    };
    through(world, silence, requests.create(&name, &file, JobState::Inactive)).await;
    assert_eq!(desired().await, Some(JobState::Inactive));
    through(world, silence, requests.set_desired(&name, JobState::Loaded)).await;
    assert_eq!(desired().await, Some(JobState::Loaded));
    through(world, silence, requests.destroy(&name)).await;
    assert_eq!(desired().await, None);
    for cordon in [Cordon::Cordoned, Cordon::Open] {
        through(world, silence, requests.set_cordon(&machine, cordon)).await;
    }
    let again = requests.destroy(&name).await;
    assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
    assert_eq!(world.faults(), Vec::<String>::new());
}

#[test]
fn a_moment_in_which_requests_do_not_arrive_fails_none() {
    // What follows the store was cut off, too, and comes back by itself.
    run(async |world| each(&world, |world, on| world.service.set_down(on), CLIENT).await);
}

#[test]
fn a_moment_in_which_answers_are_lost_fails_none_and_does_none_twice() {
    let lose = |world: &World, on| world.service.set_lossy(if on { 100 } else { 0 });
    run(async |world| each(&world, lose, Duration::ZERO).await);
}

#[test]
fn a_store_that_stays_away_is_told_before_the_client_gives_up() {
    run(async |world| {
        world.service.set_down(true);
        let begun = Instant::now();
        let name = UnitName::parse("unit0.service").unwrap();
        let outcome = requests(&world).set_desired(&name, JobState::Loaded).await;
        assert!(matches!(outcome, Err(StoreError::Away(_))), "{outcome:?}");
        assert!(begun.elapsed() < CLIENT, "{:?}", begun.elapsed());
    });
}

/// What the node's own task computes holds up its heartbeats and its fence.
#[test]
fn rebalance_is_computed_beside_the_nodes_own_task() {
    let mut runtime = Builder::new_current_thread();
    // One other thread, which is taken: what is left to others cannot end here.
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let world = World::at_rest(3, UNITS).await;
        let requests = requests(&world);
        let (free, taken) = std::sync::mpsc::channel::<()>();
        let other = spawn_blocking(move || taken.recv());
        let mut rebalance = pin!(requests.rebalance());
        assert!(poll_fn(|context| Poll::Ready(rebalance.as_mut().poll(context).is_pending())).await);
        // Nor is the lock held meanwhile.
        requests.known.look(|view| assert_eq!(view.unit_names().count(), UNITS));
        free.send(()).unwrap();
        other.await.unwrap().unwrap();
        rebalance.await.unwrap();
    });
}
