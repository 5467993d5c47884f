//! A machine that is cut off stops all that runs there and may be taken over, whoever started it.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::JobState;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::restless::in_virtual_time;
use crate::world::{TTL, World};

/// fleetd has only loaded the service: a timer of the cluster starts it. Both go to another machine, where the timer starts
/// the service, too.
#[test]
fn what_a_timer_has_started_is_stopped() {
    in_virtual_time(async {
        let mut world = World::of(2, fastrand::Rng::with_seed(3), false);
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
