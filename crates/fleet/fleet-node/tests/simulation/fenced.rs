//! A machine that is cut off stops all that runs there and may be taken over, whoever started it.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::{TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::World;

/// What it claimed to have launched, other machines have launched since. The cut ends at any moment of a try to say it again.
#[test]
fn a_machine_that_comes_back_claims_nothing_of_what_was_taken_over() {
    for tenths in (0..40).step_by(3) {
        in_virtual_time(async move {
            let world = World::at_rest(3, 12).await;
            world.set_cut(0, true);
            sleep(TTL * 3 + Duration::from_millis(tenths * 100)).await;
            assert_eq!(world.faults(), Vec::<String>::new());
            world.set_cut(0, false);
            for _ in 0..600 {
                sleep(Duration::from_millis(100)).await;
                let view = world.view();
                let launched = |name: &UnitName| view.current_state(name) == Some(JobState::Launched);
                let others: Vec<_> = view.unit_names().filter(|name| !launched(name)).collect();
                assert!(others.is_empty(), "not launched: {others:?}");
            }
        });
    }
}

/// fleetd has only loaded the service: a timer of the cluster starts it. Both go to another machine, where the timer starts
/// the service, too.
#[test]
fn what_a_timer_has_started_is_stopped() {
    in_virtual_time(async {
        let mut world = World::bare(2, 3);
        (0..2).for_each(|number| world.start(number));
        sleep(Duration::from_secs(5)).await;
        let requests = world.places[0].node.as_ref().unwrap().requests();
        let [timer, service] = ["tick.timer", "tick.service"].map(|name| UnitName::parse(name).unwrap());
        let text = |text: &str| UnitFile::from_text(text).unwrap();
        requests.create(&timer, &text("[Timer]\nOnActiveSec=1\n"), JobState::Launched).await.unwrap();
        let beside = text("[Service]\nExecStart=/a\n[X-Fleet]\nMachineOf=tick.timer\n");
        requests.create(&service, &beside, JobState::Loaded).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let on = |world: &World| world.ledger.running().remove(&service).unwrap_or_default();
        let before = on(&world);
        assert_eq!(before.len(), 1);
        let cut = before.first().copied().unwrap();
        world.set_cut(cut, true);
        sleep(TTL * 3).await;
        assert_eq!(world.faults(), Vec::<String>::new());
        assert_eq!(on(&world), BTreeSet::from([1 - cut]));
        world.set_cut(cut, false);
        sleep(TTL).await;
        assert_eq!(on(&world), BTreeSet::from([1 - cut]));
        assert_eq!(world.faults(), Vec::<String>::new());
    });
}
