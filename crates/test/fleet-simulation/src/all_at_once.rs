//! All units of a cluster are ordered at once: what that costs.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::JobState;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::about::About;
use crate::memory::MemoryStore;
use crate::{in_virtual_time, world};

type World = world::World<MemoryStore>;

/// Orders on their way at a time.
const CLIENTS: usize = 64;
/// Until all machines are there, and the beats have found their rhythm.
const SETTLED: Duration = Duration::from_secs(40);
/// How long nothing is asked for before the start, to see what an idle cluster does.
const IDLE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(600);

/// What was seen. Times are the simulation's, apart from that of the processor.
pub struct Seen {
    pub units: usize,
    /// Requests to the store, from the first order until all units are told to be active.
    pub requests: BTreeMap<About, u64>,
    /// From the first order until the last one was answered.
    pub ordered: Duration,
    /// From the first order until a node knows all units to be active.
    pub converged: Duration,
    /// Processor time of the simulation for that, of all machines and the store.
    pub processor: Duration,
    /// Requests of the minute before, in which nobody asked for anything and no unit ran.
    pub idle: BTreeMap<About, u64>,
}

impl Seen {
    /// Requests of these kinds for each unit.
    pub fn each(&self, abouts: &[About]) -> f64 {
        let sum: u64 = abouts.iter().filter_map(|about| self.requests.get(about)).sum();
        sum as f64 / self.units as f64
    }
}

/// One history with so many machines and units.
pub fn start(machines: usize, units: usize) -> Seen {
    in_virtual_time(async {
        let mut world = World::bare(machines, 7);
        let names = submitted(&mut world, units).await;
        for number in 1..machines {
            world.start(number);
            // No two machines boot at the same moment.
            sleep(Duration::from_millis(7)).await;
        }
        sleep(SETTLED).await;
        let before = world.service.requests();
        sleep(IDLE).await;
        let idle = since(&before, &world.service.requests());
        ordered(&world, &names, idle).await
    })
}

/// They are there before the other machines are: these read them, and hear nothing of each.
async fn submitted(world: &mut World, units: usize) -> Vec<UnitName> {
    world.start(0);
    sleep(SETTLED).await;
    let requests = world.places[0].node.as_ref().unwrap().requests();
    let file = UnitFile::from_text("[Service]\nExecStart=/bin/sleep 9\n").unwrap();
    let names: Vec<UnitName> =
        (0..units).map(|number| UnitName::parse(&format!("unit{number}.service")).unwrap()).collect();
    for name in &names {
        requests.create(name, &file, JobState::Inactive).await.unwrap();
    }
    names
}

async fn ordered(world: &World, names: &[UnitName], idle: BTreeMap<About, u64>) -> Seen {
    let (before, began, processor) = (world.service.requests(), Instant::now(), processor_time());
    let orders = async {
        let requests = world.places[0].node.as_ref().unwrap().requests();
        let order = async |name| requests.set_desired(name, JobState::Launched).await.unwrap();
        iter(names).map(order).buffer_unordered(CLIENTS).collect::<Vec<()>>().await;
        began.elapsed()
    };
    let converged = async {
        while world.ledger.count() < names.len() || !all_told(world, names) {
            sleep(Duration::from_millis(50)).await;
            let (run, all) = (world.ledger.count(), names.len());
            assert!(began.elapsed() < LONGEST, "{run} of {all} run after {LONGEST:?}");
        }
        began.elapsed()
    };
    let (ordered, converged) = tokio::join!(orders, converged);
    assert_eq!(world.faults(), Vec::<String>::new());
    Seen {
        units: names.len(),
        requests: since(&before, &world.service.requests()),
        ordered,
        converged,
        processor: processor_time().saturating_sub(processor),
        idle,
    }
}

fn all_told(world: &World, names: &[UnitName]) -> bool {
    let node = world.places[0].node.as_ref().unwrap();
    node.known().look(|view| {
        let active = view.states().filter(|(_, state)| state.active == "active").count();
        active == names.len()
    })
}

fn since(before: &BTreeMap<About, u64>, after: &BTreeMap<About, u64>) -> BTreeMap<About, u64> {
    let grown = |(about, count): (&About, &u64)| (*about, count - before.get(about).unwrap_or(&0));
    after.iter().map(grown).collect()
}

/// That of this thread so far, in which all of the simulation runs.
pub fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}
