//! Units that a machine cannot load or start: they move where possible, and the cause is visible.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_core::registry::UnitState;
use fleet_core::{JobState, MachineId, RefusalScope};
use fleet_simulation::in_virtual_time;
use tokio::time::sleep;
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

const SOON: Duration = Duration::from_secs(5);
/// Longer than a machine remembers refusals.
const LONG: Duration = Duration::from_secs(400);

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

async fn machines(count: usize) -> Cluster {
    let mut cluster = Cluster::unstarted(count, 1);
    (0..count).for_each(|number| cluster.start(number));
    sleep(SOON).await;
    cluster
}

async fn launch(cluster: &Cluster, name: &UnitName, text: &str) {
    let file = UnitFile::from_text(&format!("[Service]\nExecStart=/{text}\n")).unwrap();
    let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
    requests.create(name, &file, JobState::Launched).await.unwrap();
}

/// Hosts that run the unit.
fn hosts(cluster: &Cluster, name: &UnitName) -> BTreeSet<usize> {
    cluster.ledger.running().get(name).map(|machines| machines.iter().copied().collect()).unwrap_or_default()
}

fn state(cluster: &Cluster, name: &UnitName, host: usize) -> Option<UnitState> {
    cluster.view().state(name, &MachineId::new(&cluster.hosts[host].id)).cloned()
}

#[test]
fn a_unit_moves_to_a_machine_that_can_run_it_and_stays() {
    in_virtual_time(async {
        let cluster = machines(3).await;
        let unit = name("a.service");
        for taken in [0, 1] {
            cluster.hosts[taken].systemd.set_own_unit(&unit, true);
        }
        launch(&cluster, &unit, "a").await;
        sleep(SOON).await;
        assert_eq!(hosts(&cluster, &unit), [2].into());
        assert_eq!(cluster.view().current_state(&unit), Some(JobState::Launched));
        sleep(LONG).await;
        assert_eq!(hosts(&cluster, &unit), [2].into());
        // Each was tried at most once, and publishes no state any more.
        for taken in [0, 1] {
            assert!(cluster.hosts[taken].systemd.refused_calls() <= 1, "{taken}");
            assert_eq!(state(&cluster, &unit, taken), None, "{taken}");
        }
        assert_eq!(cluster.ledger.starts(), 1);
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

#[test]
fn a_unit_that_every_machine_refuses_runs_when_one_accepts() {
    in_virtual_time(async {
        let cluster = machines(2).await;
        let unit = name("a.service");
        for host in &cluster.hosts {
            host.systemd.set_own_unit(&unit, true);
        }
        launch(&cluster, &unit, "a").await;
        sleep(LONG).await;
        let view = cluster.view();
        let target = view.unit(&unit).unwrap().target.unwrap();
        assert_eq!(view.current_state(&unit), Some(JobState::Inactive));
        let refusal = view.refusal(&unit, &target).unwrap();
        assert_eq!((refusal.cause.as_str(), refusal.scope), ("load is refused", RefusalScope::Machine));
        // Attempts continue, but not often.
        let tries: usize = cluster.hosts.iter().map(|host| host.systemd.refused_calls()).sum();
        assert!((2..=20).contains(&tries), "{tries}");

        for host in &cluster.hosts {
            host.systemd.set_own_unit(&unit, false);
        }
        // A repeated request skips the backoff.
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        requests.set_desired(&unit, JobState::Launched).await.unwrap();
        sleep(SOON).await;
        assert_eq!(hosts(&cluster, &unit).len(), 1);
        assert_eq!(cluster.view().refusal(&unit, &target), None);
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

#[test]
fn nothing_is_left_of_a_refused_unit_that_is_destroyed_or_unloaded() {
    in_virtual_time(async {
        let cluster = machines(1).await;
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        for unit in [name("a.service"), name("refused-load-b.service"), name("refused-start-c.service")] {
            cluster.hosts[0].systemd.set_own_unit(&unit, unit.as_str() == "a.service");
            for end in [None, Some(JobState::Inactive)] {
                launch(&cluster, &unit, "a").await;
                sleep(SOON).await;
                assert!(state(&cluster, &unit, 0).unwrap().refusal.is_some(), "{unit}");
                match end {
                    None => requests.destroy(&unit).await.unwrap(),
                    Some(state) => requests.set_desired(&unit, state).await.unwrap(),
                }
                sleep(SOON).await;
                assert_eq!(state(&cluster, &unit, 0), None, "{unit} {end:?}");
            }
        }
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// A unit that no machine could start is not moved.
#[test]
fn a_unit_with_an_invalid_file_is_not_moved() {
    in_virtual_time(async {
        let cluster = machines(2).await;
        let unit = name("refused-start.service");
        launch(&cluster, &unit, "a").await;
        sleep(SOON).await;
        let target = cluster.view().unit(&unit).unwrap().target;
        sleep(LONG).await;
        let view = cluster.view();
        assert_eq!(view.unit(&unit).unwrap().target, target);
        assert_eq!(view.current_state(&unit), Some(JobState::Loaded));
        assert_eq!(view.refusal(&unit, &target.unwrap()).unwrap().cause, "start is refused");
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}
