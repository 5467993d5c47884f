//! Units that do not come to rest, or not up.

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::{AUTO_RESTART, About, in_virtual_time};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::World;

/// For so long it is started and ends, some fifty times a second.
const LASTS: Duration = Duration::from_secs(60);

/// Of which the cluster is, at work.
async fn one_machine() -> World {
    let mut world = World::bare(1, 1);
    world.start(0);
    sleep(Duration::from_secs(5)).await;
    world
}

/// So slowly that each of its changes is written: that it is started again is told at once all the same.
#[test]
fn a_unit_that_starts_again_after_a_while_is_shown_as_that() {
    in_virtual_time(async {
        let world = one_machine().await;
        let name = UnitName::parse("slow.service").unwrap();
        let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
        let place = &world.places[0];
        let requests = place.node.as_ref().unwrap().requests();
        requests.create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        let id = fleet_core::MachineId::new(&place.id);
        for _ in 0..10 {
            place.machine.shows(&name, "active");
            sleep(Duration::from_millis(1)).await;
            place.machine.shows(&name, AUTO_RESTART);
            sleep(Duration::from_millis(200)).await;
            let sub = world.view().state(&name, &id).map(|state| state.sub.clone());
            assert_eq!(sub.as_deref(), Some(AUTO_RESTART));
            sleep(Duration::from_secs(3)).await;
        }
    });
}

#[test]
fn a_unit_that_starts_again_and_again_is_shown_as_that_and_costs_little() {
    in_virtual_time(async {
        let world = one_machine().await;
        let names = ["restless.service", "calm.service"].map(|name| UnitName::parse(name).unwrap());
        let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
        let requests = world.places[0].node.as_ref().unwrap().requests();
        for name in &names {
            requests.create(name, &file, JobState::Launched).await.unwrap();
        }
        sleep(Duration::from_secs(5)).await;

        let written = || world.service.requests().get(&About::State).copied().unwrap_or(0);
        let state = |name| {
            let id = fleet_core::MachineId::new(&world.places[0].id);
            world.view().state(name, &id).map(|state| (state.active.clone(), state.sub.clone()))
        };
        let (machine, began, before) = (&world.places[0].machine, Instant::now(), written());
        let (mut shown, mut looks) = (0, 0);
        while began.elapsed() < LASTS {
            for (active, millis) in [("active", 1), (AUTO_RESTART, 20)] {
                machine.shows(&names[0], active);
                sleep(Duration::from_millis(millis)).await;
            }
            looks += 1;
            let is_shown =
                state(&names[0]).is_some_and(|(active, sub)| active == "activating" && sub == AUTO_RESTART);
            shown += usize::from(is_shown);
        }
        assert!(shown > looks * 3 / 4, "{shown} of {looks}");
        let count = written() - before;
        // Once a second, and what is renewed of both.
        assert!(count < LASTS.as_secs() + 20, "{count}");

        // What it is in the end is known soon, and of others at once.
        machine.shows(&names[0], "active");
        machine.shows(&names[1], "failed");
        let active = |name| state(name).map(|(active, _)| active);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(active(&names[1]).as_deref(), Some("failed"));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(active(&names[0]).as_deref(), Some("active"));
        assert_eq!(world.faults(), Vec::<String>::new());
    });
}

/// Whatever is told of a unit because it was tried is no reason to try it again at once.
#[test]
fn a_unit_that_is_refused_is_tried_from_time_to_time() {
    in_virtual_time(async {
        for what in ["refused-start.service", "refused-load.service", "refused-unload.service"] {
            let world = one_machine().await;
            let file = |text: &str| UnitFile::from_text(&format!("[Service]\nExecStart=/{text}\n")).unwrap();
            let (name, requests) =
                (UnitName::parse(what).unwrap(), world.places[0].node.as_ref().unwrap().requests());
            requests.create(&name, &file("a"), JobState::Launched).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            if what.contains("unload") {
                requests.destroy(&name).await.unwrap();
            }
            sleep(LASTS).await;
            // To be removed, at each look of the agent; what the unit's text is at fault for, less and less often.
            let tries = world.places[0].machine.refused();
            let expected = if what.contains("unload") { 10..=16 } else { 4..=6 };
            assert!(expected.contains(&tries), "{what}: {tries}");
            if what.contains("unload") {
                continue;
            }
            // A text that is new is tried at once.
            requests.create(&name, &file("b"), JobState::Launched).await.unwrap();
            sleep(Duration::from_millis(500)).await;
            assert!(world.places[0].machine.refused() > tries, "{what}");
        }
    });
}

/// A start that is asked for once more, at a moment when it cannot be done, is done later.
#[test]
fn a_failed_unit_that_is_asked_for_again_is_started_in_the_end() {
    in_virtual_time(async {
        let world = one_machine().await;
        let name = UnitName::parse("a.service").unwrap();
        let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
        let (requests, machine) =
            (world.places[0].node.as_ref().unwrap().requests(), &world.places[0].machine);
        requests.create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        machine.shows(&name, "failed");
        machine.set_refuses_all(true);
        requests.set_desired(&name, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!((world.ledger.running().len(), machine.refused()), (0, 1));
        machine.set_refuses_all(false);
        sleep(Duration::from_secs(10)).await;
        assert!(world.ledger.running().contains_key(&name));
        assert_eq!(world.ledger.starts(), 2);
    });
}
