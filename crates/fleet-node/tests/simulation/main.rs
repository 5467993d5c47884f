//! Whole clusters in one thread, from a seed: machines crash, are cut off, lose their fleetd; the store goes away
//! and loses answers; units come, change and go. No unit may ever run twice, and in the end all that is asked for
//! runs. Time does not pass: it is tokio's own, which jumps to the next thing that waits.
//!
//! `KEELSON_SEEDS=1000` runs so many instead of the usual few, `KEELSON_SEED=17` just that one, with its story.

#![allow(clippy::unwrap_used)]

mod all_at_once;
mod dead;
mod machine;
mod scale;
mod store;
mod world;

use world::World;

const USUAL: u64 = 24;
/// What goes wrong in one history.
const TROUBLES: usize = 14;

fn run(seed: u64, told: bool) -> Vec<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed, told).await;
        for _ in 0..TROUBLES {
            world.trouble().await;
        }
        world.end_well().await;
        world.faults()
    })
}

#[test]
fn no_unit_twice_and_none_lost() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("KEELSON_SEED") {
        assert_eq!(run(seed, true), Vec::<String>::new());
        return;
    }
    let bad: Vec<(u64, Vec<String>)> = (1..=number("KEELSON_SEEDS").unwrap_or(USUAL))
        .map(|seed| (seed, run(seed, false)))
        .filter(|(_, faults)| !faults.is_empty())
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
}
