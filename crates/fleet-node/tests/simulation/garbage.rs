//! Texts that no unit has had for a day are deleted.

use std::time::Duration;

use cluster::JobState;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::about::About::Other;
use crate::restless::in_virtual_time;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);

/// A machine that submits the text again finds it there, and the leader has not heard of that yet.
#[test]
fn a_text_that_comes_into_use_while_it_is_deleted_stays() {
    in_virtual_time(async {
        let mut world = World::of(2, fastrand::Rng::with_seed(1), false);
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
