//! What nothing refers to any more is deleted.

use std::time::Duration;

use fleet_core::JobState;
use fleet_core::registry::Key;
use fleet_node::{Only, Store as _};
use fleet_simulation::About::Other;
use fleet_simulation::{Link as _, Service as _, TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::World;

const HOUR: Duration = Duration::from_secs(3600);

/// A machine that submits the text again finds it there, and the leader has not heard of that yet.
#[test]
fn a_text_that_comes_into_use_while_it_is_deleted_stays() {
    in_virtual_time(async {
        let mut world = World::bare(2, 1);
        world.start(0);
        sleep(Duration::from_secs(5)).await;
        world.start(1);
        sleep(Duration::from_secs(5)).await;
        let (name, file) = (
            UnitName::parse("a.service").unwrap(),
            UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap(),
        );
        let requests = world.places[1].node.as_ref().unwrap().requests();
        requests.create(&name, &file, JobState::Inactive).await.unwrap();
        requests.destroy(&name).await.unwrap();
        sleep(HOUR * 24).await;
        let others = |world: &World| world.service.requests().get(&Other).copied().unwrap_or_default();
        let before = others(&world);
        world.places[0].link.set_slow(Some(300..400));
        // The leader asks for the text; its answer, and the leader's deletion, take longer than what is written here.
        while others(&world) == before {
            assert!(world.view().unused().count() == 1);
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(450)).await;
        requests.create(&name, &file, JobState::Inactive).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert!(world.view().file(&name).is_some(), "its text is gone: {:?}", world.service.shown());
    });
}

/// As in a cluster whose machines update themselves, one each night.
#[test]
fn texts_are_deleted_where_no_leader_leads_for_a_day() {
    in_virtual_time(async {
        let mut world = World::bare(2, 1);
        (0..2).for_each(|number| world.start(number));
        sleep(Duration::from_secs(20)).await;
        let (name, file) = (
            UnitName::parse("a.service").unwrap(),
            UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap(),
        );
        let requests = world.places[0].node.as_ref().unwrap().requests();
        requests.create(&name, &file, JobState::Inactive).await.unwrap();
        requests.destroy(&name).await.unwrap();
        let leader = |world: &World| world.view().lease().map(|lease| lease.machine.clone()).unwrap();
        for _ in 0..3 {
            sleep(HOUR * 10).await;
            let before = leader(&world);
            let leads = world.places.iter().position(|place| place.id == before.as_str()).unwrap();
            world.set_cut(leads, true);
            sleep(TTL * 2).await;
            assert_ne!(leader(&world), before);
            world.set_cut(leads, false);
        }
        assert_eq!(world.view().unused().count(), 0);
    });
}

/// A write of the engine that was on its way binds the next unit of the name to a machine.
#[test]
fn what_is_left_of_a_destroyed_unit_is_deleted() {
    in_virtual_time(async {
        let world = World::at_rest(1, 1).await;
        let requests = world.places[0].node.as_ref().unwrap().requests();
        let name = UnitName::parse("gone.service").unwrap();
        for (key, value) in [(Key::Target(name.clone()), "m1"), (Key::Pin(name.clone()), "m1")] {
            requests.store.put(&key, value, None, Only::Always).await.unwrap();
        }
        sleep(Duration::from_secs(30)).await;
        assert_eq!(world.view().remains().count(), 1);
        sleep(Duration::from_secs(180)).await;
        let left: Vec<_> =
            world.service.shown().into_iter().filter(|(path, _)| path.contains("gone.service")).collect();
        assert_eq!(left, []);
        // What a unit has stays.
        assert_eq!(world.view().units().filter(|unit| unit.target.is_some()).count(), 1);
    });
}
