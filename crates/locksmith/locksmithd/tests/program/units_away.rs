//! Draining units before the reboot, and restoring them afterwards.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::machine::{Machine, own_id, wait_until};
use crate::server::{self, RequestLog};

const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
const REBOOT: (&str, &str) = ("REBOOT_STRATEGY", "reboot");

/// A cluster manager with this machine and one unit, which moves after `unit_requests` requests.
fn fleet(machine: &Machine, cordon: &str, unit_requests: usize) -> RequestLog {
    machine.bus.change(|state| {
        state.units.insert("fleet.service".into(), "active".into());
    });
    let cordon = Arc::new(Mutex::new(cordon.to_owned()));
    let requests_seen = AtomicUsize::new(0);
    server::unix(&machine.path("fleet"), move |request| {
        let me = own_id();
        let mut cordon = cordon.lock().unwrap();
        if request.line.starts_with("PUT /keelson/v1/machines/") {
            *cordon = request.body.split('"').nth(3).unwrap_or_default().to_owned();
            return (204, String::new());
        }
        if request.line.starts_with("GET /fleet/v1/machines") {
            return (200, format!(r#"{{"machines":[{{"cordon":"{cordon}","id":"{me}"}}]}}"#));
        }
        let moved = requests_seen.fetch_add(1, Ordering::Relaxed) >= unit_requests;
        let location = if moved { "elsewhere" } else { me.as_str() };
        (200, format!(r#"{{"units":[{{"machineID":"{location}","name":"a.service"}}]}}"#))
    })
}

fn puts(requests: &RequestLog) -> Vec<String> {
    let all = requests.lock().unwrap();
    all.iter().filter(|request| request.line.starts_with("PUT")).map(|request| request.body.clone()).collect()
}

fn unit_requests(requests: &RequestLog) -> usize {
    requests.lock().unwrap().iter().filter(|request| request.line.starts_with("GET /fleet/v1/units")).count()
}

fn drain_marker(machine: &Machine) -> PathBuf {
    machine.path("state/drained")
}

#[test]
fn units_are_drained_before_the_reboot_and_restored_at_the_next_boot() {
    let machine = Machine::new();
    let requests = fleet(&machine, "open", 2);
    let engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    assert!(unit_requests(&requests) >= 3, "it waits until they are gone");
    assert_eq!(puts(&requests), [r#"{"cordon":"draining"}"#]);
    assert_eq!(std::fs::read_to_string(drain_marker(&machine)).unwrap(), "open\n");
    daemon.logs("The units have moved away");
    assert_eq!(daemon.stop(), Some(0));
    drop(engine);

    let daemon = machine.start(&[REBOOT]);
    daemon.logs("This machine takes units again");
    assert_eq!(puts(&requests), [r#"{"cordon":"draining"}"#, r#"{"cordon":"open"}"#]);
    assert!(!drain_marker(&machine).exists());
}

#[test]
fn operators_cordon_state_is_kept() {
    for (before, expect) in
        [("cordoned", vec![r#"{"cordon":"draining"}"#, r#"{"cordon":"cordoned"}"#]), ("draining", vec![])]
    {
        let machine = Machine::new();
        let requests = fleet(&machine, before, 0);
        let engine = machine.bus.engine(NEED_REBOOT);
        let daemon = machine.start(&[REBOOT]);
        wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
        assert_eq!(daemon.stop(), Some(0));
        drop(engine);
        let daemon = machine.start(&[REBOOT, ("LOCKSMITHD_DEBUG", "true")]);
        if before == "cordoned" {
            daemon.logs("This machine takes units again");
        } else {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        assert_eq!(puts(&requests), expect, "{before}");
    }
}

#[test]
fn drain_timeout() {
    let machine = Machine::new();
    let requests = fleet(&machine, "open", usize::MAX);
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT, ("LOCKSMITHD_DRAIN_TIMEOUT", "1s")]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    daemon.logs("Not moved away in time: a.service");
    assert!(unit_requests(&requests) >= 2);
}

#[test]
fn withdrawn_reboot_restores_the_units() {
    let machine = Machine::new();
    let requests = fleet(&machine, "open", 3);
    let engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[("REBOOT_STRATEGY", "etcd-lock")]);
    wait_until("a look at the units", || unit_requests(&requests), |count| *count > 0);
    engine.logs("UPDATE_STATUS_IDLE", "0.0.0");
    daemon.logs("The reboot is called off: the update agent is at UPDATE_STATUS_IDLE");
    daemon.logs("Released the lock: this machine does not reboot now");
    // The units follow the lock.
    wait_until("the return of the units", || puts(&requests), |puts| puts.len() > 1);
    assert_eq!(puts(&requests), [r#"{"cordon":"draining"}"#, r#"{"cordon":"open"}"#]);
    assert_eq!(machine.bus.reboots(), [""; 0]);
    assert_eq!(machine.store.ctl(&["status"]), "Available: 1\nMax: 1\n");
}

/// A granted FleetLock request does not show whether the lock was held before.
#[test]
fn withdrawn_reboot_of_an_unhealthy_machine_keeps_its_fleet_lock() {
    let machine = Machine::new();
    machine.bus.change(|state| {
        state.requires_good_boot = true;
        state.units.insert("boot-complete.target".into(), "inactive".into());
    });
    // An earlier boot has requested the lock.
    std::fs::create_dir_all(machine.path("state")).unwrap();
    std::fs::write(machine.path("state/lock-requested"), "").unwrap();
    let (url, lock_requests) = server::tcp(|_| (200, String::new()));
    let requests = fleet(&machine, "open", 3);
    let engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT, ("LOCKSMITHD_FLEET_LOCK_URL", &url)]);
    wait_until("a look at the units", || unit_requests(&requests), |count| *count > 0);
    engine.logs("UPDATE_STATUS_IDLE", "0.0.0");
    daemon.logs("The reboot is called off: the update agent is at UPDATE_STATUS_IDLE");
    daemon.logs("Not healthy yet");
    machine.bus.change(|state| {
        state.units.insert("boot-complete.target".into(), "active".into());
    });
    let lines =
        || lock_requests.lock().unwrap().iter().map(|request| request.line.clone()).collect::<Vec<_>>();
    let released = ["POST /v1/pre-reboot", "POST /v1/steady-state"];
    wait_until("the lock's release", lines, |lines| lines.ends_with(&released.map(str::to_owned)[1..]));
    // Settling is what gives the lock and the units back: the rollback did not.
    assert_eq!(lines(), released);
    assert_eq!(puts(&requests), [r#"{"cordon":"draining"}"#, r#"{"cordon":"open"}"#]);
    let log = daemon.log();
    assert!(!log.contains("Released the lock"), "{log}");
}

#[test]
fn inactive_cluster_manager_is_not_contacted() {
    let machine = Machine::new();
    let requests = fleet(&machine, "open", 0);
    machine.bus.change(|state| {
        state.units.insert("fleet.service".into(), "inactive".into());
    });
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    daemon.logs("No cluster manager runs here: no units to move away");
    assert!(requests.lock().unwrap().is_empty());
}
