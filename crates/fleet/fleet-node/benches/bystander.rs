//! Cost for one machine of units that start on other machines: `cargo bench -p fleet-node --bench bystander --
//! [MACHINES...]`. For docs/benchmarks.md.
//!
//! One real node with ten units runs over `fleet-simulation`'s store model, in one thread. The other machines and the
//! leader are simulated by their writes. CPU time of the same writes without the node is subtracted. Lines of
//! `figure`, `what`, `target` and `measured`, separated by tabs, are for `cargo xtask bench fleet`.

#![allow(clippy::unwrap_used)] // A measurement, no part of any program.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_core::registry::{JobObject, Key, MachineObject, UnitObject, UnitState};
use fleet_core::{JobState, MachineId};
use fleet_node::{Precondition, Store as _};
use fleet_simulation::mass_start::thread_cpu_time;
use fleet_simulation::memory::MemoryLink;
use fleet_simulation::{Cluster, Service as _, in_virtual_time};
use tokio::time::sleep;
use unit_file::{UnitFile, UnitHash, UnitName};

const MACHINES: [usize; 3] = [10, 100, 1_000];
const OWN: usize = 10;
const OTHERS: usize = 1_000;
const SETTLED: Duration = Duration::from_secs(40);
/// Storms per measurement: CPU time is counted in milliseconds.
const STORMS: usize = 10;
/// Runs per measurement; the minimum counts.
const RUNS: usize = 3;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut machines: Vec<usize> = words.iter().map(|word| word.parse().unwrap()).collect();
    if machines.is_empty() {
        machines = MACHINES.into();
    }
    for machines in machines {
        for (what, storm) in [
            (format!("{OTHERS} units start on the others"), Storm::Starts),
            ("a unit that is on all of them restarts".to_owned(), Storm::GlobalRestart),
        ] {
            let with_service = |node| (0..RUNS).map(|_| measure(machines, storm, node)).min().unwrap();
            let (with, without) = (with_service(true), with_service(false));
            let paid = with.saturating_sub(without).as_secs_f64() * 1e3 / STORMS as f64;
            println!(
                "figure\t{machines} machines, one of them with {OWN} units of its own: processor time of its fleetd while {what} \
                 (simulation)\t{}\t{paid:.1} ms",
                if machines == 1_000 { "<= 3 times that on 10 machines" } else { "" }
            );
        }
    }
}

#[derive(Clone, Copy)]
enum Storm {
    Starts,
    GlobalRestart,
}

fn measure(machines: usize, storm: Storm, node: bool) -> Duration {
    in_virtual_time(async {
        let mut cluster = Cluster::unstarted(1, 7);
        cluster.disable_engine = true;
        let puppet = Puppet { link: cluster.service.link(1) };
        let me = MachineId::new(&cluster.hosts[0].id);
        let others: Vec<MachineId> = (1..machines)
            .map(|number| MachineId::new(&format!("ffaabbccddeeff0011223344{number:08}")))
            .collect();
        for other in &others {
            puppet.register(other).await;
        }
        let everywhere = puppet.submit("everywhere.service", "Global=true\n").await;
        let own = puppet.submit_all("own", OWN).await;
        let foreign = puppet.submit_all("foreign", OTHERS).await;
        if node {
            cluster.start(0);
        }
        for (name, _) in &own {
            puppet.put(Key::Target(name.clone()), me.as_str()).await;
            puppet.put(Key::TargetState(name.clone()), "launched").await;
        }
        puppet.put(Key::TargetState(everywhere.0.clone()), "launched").await;
        for other in &others {
            puppet.state(&everywhere, other, "active").await;
        }
        sleep(SETTLED).await;
        let began = thread_cpu_time();
        for _ in 0..STORMS {
            match storm {
                Storm::Starts => {
                    for ((name, hash), other) in foreign.iter().zip(others.iter().cycle()) {
                        puppet.put(Key::TargetState(name.clone()), "launched").await;
                        puppet.put(Key::Target(name.clone()), other.as_str()).await;
                        puppet.put(Key::JobState(name.clone()), other.as_str()).await;
                        puppet.state(&(name.clone(), *hash), other, "active").await;
                    }
                }
                Storm::GlobalRestart => {
                    for active in ["activating", "active"] {
                        for other in &others {
                            puppet.state(&everywhere, other, active).await;
                        }
                    }
                }
            }
        }
        sleep(Duration::from_secs(5)).await;
        let took = thread_cpu_time().saturating_sub(began);
        assert_eq!(cluster.ledger.count(), if node { OWN + 1 } else { 0 });
        took
    })
}

/// Writes the keys of the other machines and of the leader.
struct Puppet {
    link: MemoryLink,
}

impl Puppet {
    async fn put(&self, key: Key, value: &str) {
        self.link.put(&key, value, None, Precondition::Always).await.unwrap();
    }

    async fn register(&self, id: &MachineId) {
        let object = MachineObject {
            id: id.clone(),
            public_ip: "192.0.2.7".into(),
            metadata: BTreeMap::new(),
            disable_engine: false,
            version: "1.0.0".into(),
        };
        self.put(Key::MachineObject(id.clone()), &object.encode()).await;
    }

    async fn submit(&self, name: &str, section: &str) -> (UnitName, UnitHash) {
        let text = format!("[Service]\nExecStart=/bin/sleep 9\n[X-Fleet]\n{section}");
        let (name, hash) = (UnitName::parse(name).unwrap(), UnitFile::from_text(&text).unwrap().hash());
        self.put(Key::Unit(hash), &UnitObject { raw: text }.encode()).await;
        let object = JobObject { name: name.to_string(), hash };
        self.put(Key::JobObject(name.clone()), &object.encode()).await;
        self.put(Key::TargetState(name.clone()), JobState::Inactive.as_str()).await;
        (name, hash)
    }

    async fn submit_all(&self, kind: &str, count: usize) -> Vec<(UnitName, UnitHash)> {
        let mut units = Vec::new();
        for number in 0..count {
            units.push(self.submit(&format!("{kind}{number}.service"), "").await);
        }
        units
    }

    async fn state(&self, (name, hash): &(UnitName, UnitHash), machine: &MachineId, active: &str) {
        let state = UnitState {
            load: "loaded".into(),
            active: active.into(),
            sub: "running".into(),
            machine: machine.clone(),
            hash: *hash,
            refusal: None,
        };
        self.put(Key::State(name.clone(), machine.clone()), &state.encode()).await;
    }
}
