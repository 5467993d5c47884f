//! Watches that hear nothing any more, though their connections stand.

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::{Link as _, in_virtual_time};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::World;

async fn launch(world: &World, name: &UnitName, wishes: &str) {
    let file = UnitFile::from_text(&format!("[Service]\nExecStart=/a\n{wishes}")).unwrap();
    let node = world.places[0].node.as_ref().unwrap();
    node.requests().create(name, &file, JobState::Launched).await.unwrap();
}

/// The way to the store was cut; when it is open again, everything is known at once, whatever became of what was
/// waited for meanwhile.
#[test]
fn what_is_deaf_after_a_cut_is_asked_anew() {
    in_virtual_time(async {
        let mut world = World::bare(1, 1);
        world.places[0].link.deafens = true;
        world.start(0);
        sleep(Duration::from_secs(5)).await;
        let cut = world.places[0].link.clone();
        cut.set_cut(true);
        sleep(Duration::from_secs(30)).await;
        let node = world.places[0].node.as_ref().unwrap();
        assert!(!node.contact().standing().is_serving());
        cut.set_cut(false);
        let open = Instant::now();
        while !node.contact().standing().is_serving() {
            sleep(Duration::from_millis(10)).await;
        }
        // Long before everything is read again because of its age.
        assert!(open.elapsed() < Duration::from_secs(5), "{:?}", open.elapsed());
        let asked = Instant::now();
        let name = UnitName::parse("a.service").unwrap();
        launch(&world, &name, "").await;
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
        sleep(Duration::from_secs(2)).await;
        assert!(world.ledger.running().contains_key(&name));
    });
}

/// The member that a machine's watch is at hangs, and its requests go to another one: it is present, and hears of nothing.
#[test]
fn a_watch_at_a_member_that_hangs_is_left() {
    in_virtual_time(async {
        let mut world = World::bare(2, 1);
        (0..2).for_each(|number| world.start(number));
        sleep(Duration::from_secs(5)).await;
        world.places[1].link.deafen();
        let (name, begun) = (UnitName::parse("a.service").unwrap(), Instant::now());
        launch(&world, &name, &format!("[X-Fleet]\nMachineID={}\n", world.places[1].id)).await;
        while !world.ledger.running().contains_key(&name) {
            assert!(begun.elapsed() < Duration::from_secs(20), "not heard of for {:?}", begun.elapsed());
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(world.faults(), Vec::<String>::new());
    });
}
