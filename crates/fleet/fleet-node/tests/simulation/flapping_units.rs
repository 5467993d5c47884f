//! Units in restart loops, and units that cannot start.

use std::time::Duration;

use fleet_core::JobState;
use fleet_simulation::{AUTO_RESTART, RequestKind, in_virtual_time};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::Cluster;

/// Duration of the restart loop, at about fifty restarts per second.
const LASTS: Duration = Duration::from_secs(60);

/// A running cluster of one machine.
async fn one_machine() -> Cluster {
    let mut cluster = Cluster::unstarted(1, 1);
    cluster.start(0);
    sleep(Duration::from_secs(5)).await;
    cluster
}

/// So slow that each change is written: a restart is still visible immediately.
#[test]
fn a_unit_that_starts_again_after_a_while_is_shown_as_that() {
    in_virtual_time(async {
        let cluster = one_machine().await;
        let name = UnitName::parse("slow.service").unwrap();
        let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
        let host = &cluster.hosts[0];
        let requests = host.node.as_ref().unwrap().requests();
        requests.create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        let id = fleet_core::MachineId::new(&host.id);
        for _ in 0..10 {
            host.systemd.set_active_state(&name, "active");
            sleep(Duration::from_millis(1)).await;
            host.systemd.set_active_state(&name, AUTO_RESTART);
            sleep(Duration::from_millis(200)).await;
            let sub = cluster.view().state(&name, &id).map(|state| state.sub.clone());
            assert_eq!(sub.as_deref(), Some(AUTO_RESTART));
            sleep(Duration::from_secs(3)).await;
        }
    });
}

#[test]
fn a_unit_that_starts_again_and_again_is_shown_as_that_and_costs_little() {
    in_virtual_time(async {
        let cluster = one_machine().await;
        let names = ["restless.service", "calm.service"].map(|name| UnitName::parse(name).unwrap());
        let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
        let requests = cluster.hosts[0].node.as_ref().unwrap().requests();
        for name in &names {
            requests.create(name, &file, JobState::Launched).await.unwrap();
        }
        sleep(Duration::from_secs(5)).await;

        let written = || cluster.service.requests().get(&RequestKind::State).copied().unwrap_or(0);
        let state = |name| {
            let id = fleet_core::MachineId::new(&cluster.hosts[0].id);
            cluster.view().state(name, &id).map(|state| (state.active.clone(), state.sub.clone()))
        };
        let (systemd, began, before) = (&cluster.hosts[0].systemd, Instant::now(), written());
        let (mut correct, mut looks) = (0, 0);
        while began.elapsed() < LASTS {
            for (active, millis) in [("active", 1), (AUTO_RESTART, 20)] {
                systemd.set_active_state(&names[0], active);
                sleep(Duration::from_millis(millis)).await;
            }
            looks += 1;
            let is_shown =
                state(&names[0]).is_some_and(|(active, sub)| active == "activating" && sub == AUTO_RESTART);
            correct += usize::from(is_shown);
        }
        assert!(correct > looks * 3 / 4, "{correct} of {looks}");
        let count = written() - before;
        // One write per second, and refreshes of both units.
        assert!(count < LASTS.as_secs() + 20, "{count}");

        // The final state is visible soon, and states of other units immediately.
        systemd.set_active_state(&names[0], "active");
        systemd.set_active_state(&names[1], "failed");
        let active = |name| state(name).map(|(active, _)| active);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(active(&names[1]).as_deref(), Some("failed"));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(active(&names[0]).as_deref(), Some("active"));
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// State changes caused by an attempt must not trigger the next one.
#[test]
fn a_unit_that_is_refused_is_tried_from_time_to_time() {
    in_virtual_time(async {
        for what in ["refused-start.service", "refused-load.service", "refused-unload.service"] {
            let cluster = one_machine().await;
            let file = |text: &str| UnitFile::from_text(&format!("[Service]\nExecStart=/{text}\n")).unwrap();
            let (name, requests) =
                (UnitName::parse(what).unwrap(), cluster.hosts[0].node.as_ref().unwrap().requests());
            requests.create(&name, &file("a"), JobState::Launched).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            if what.contains("unload") {
                requests.destroy(&name).await.unwrap();
            }
            sleep(LASTS).await;
            // Unloads are retried at each agent interval; permanent failures with exponential backoff.
            let tries = cluster.hosts[0].systemd.refused_calls();
            let expected = if what.contains("unload") { 10..=16 } else { 4..=6 };
            assert!(expected.contains(&tries), "{what}: {tries}");
            if what.contains("unload") {
                continue;
            }
            // A new unit file is tried immediately.
            requests.create(&name, &file("b"), JobState::Launched).await.unwrap();
            sleep(Duration::from_millis(500)).await;
            assert!(cluster.hosts[0].systemd.refused_calls() > tries, "{what}");
        }
    });
}

/// A repeated launch request that fails is retried later.
#[test]
fn a_repeated_launch_of_a_failed_unit_is_retried() {
    in_virtual_time(async {
        let cluster = one_machine().await;
        let name = UnitName::parse("a.service").unwrap();
        let file = UnitFile::from_text("[Service]\nExecStart=/a\n").unwrap();
        let (requests, systemd) =
            (cluster.hosts[0].node.as_ref().unwrap().requests(), &cluster.hosts[0].systemd);
        requests.create(&name, &file, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        systemd.set_active_state(&name, "failed");
        systemd.set_refuse_all(true);
        requests.set_desired(&name, JobState::Launched).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!((cluster.ledger.running().len(), systemd.refused_calls()), (0, 1));
        systemd.set_refuse_all(false);
        sleep(Duration::from_secs(10)).await;
        assert!(cluster.ledger.running().contains_key(&name));
        assert_eq!(cluster.ledger.starts(), 2);
    });
}
