//! The cluster manager's units leave before the reboot, and may come back after it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::machine::{Machine, own_id, wait};
use crate::server::{self, Asked};

const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
const REBOOT: (&str, &str) = ("REBOOT_STRATEGY", "reboot");

/// A cluster manager with this machine and one unit on it, which leaves when it was looked for so often.
fn fleet(machine: &Machine, cordon: &str, looks: usize) -> Asked {
    machine.bus.change(|facts| {
        facts.units.insert("fleet.service".into(), "active".into());
    });
    let cordon = Arc::new(Mutex::new(cordon.to_owned()));
    let looked = AtomicUsize::new(0);
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
        let gone = looked.fetch_add(1, Ordering::Relaxed) >= looks;
        let place = if gone { "elsewhere" } else { me.as_str() };
        (200, format!(r#"{{"units":[{{"machineID":"{place}","name":"a.service"}}]}}"#))
    })
}

fn puts(asked: &Asked) -> Vec<String> {
    let all = asked.lock().unwrap();
    all.iter().filter(|one| one.line.starts_with("PUT")).map(|one| one.body.clone()).collect()
}

fn looks(asked: &Asked) -> usize {
    asked.lock().unwrap().iter().filter(|one| one.line.starts_with("GET /fleet/v1/units")).count()
}

fn mark(machine: &Machine) -> PathBuf {
    machine.path("state/drained")
}

#[test]
fn units_leave_before_the_reboot_and_the_next_boot_takes_them_back() {
    let machine = Machine::new();
    let asked = fleet(&machine, "open", 2);
    let engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT]);
    wait("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    assert!(looks(&asked) >= 3, "it waits until they are gone");
    assert_eq!(puts(&asked), [r#"{"cordon":"draining"}"#]);
    assert_eq!(std::fs::read_to_string(mark(&machine)).unwrap(), "open\n");
    daemon.says("The units have moved away");
    assert_eq!(daemon.stop(), Some(0));
    drop(engine);

    let daemon = machine.start(&[REBOOT]);
    daemon.says("This machine takes units again");
    assert_eq!(puts(&asked), [r#"{"cordon":"draining"}"#, r#"{"cordon":"open"}"#]);
    assert!(!mark(&machine).exists());
}

#[test]
fn what_an_operator_said_of_the_machine_stays() {
    for (before, expect) in
        [("cordoned", vec![r#"{"cordon":"draining"}"#, r#"{"cordon":"cordoned"}"#]), ("draining", vec![])]
    {
        let machine = Machine::new();
        let asked = fleet(&machine, before, 0);
        let engine = machine.bus.engine(NEED_REBOOT);
        let daemon = machine.start(&[REBOOT]);
        wait("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
        assert_eq!(daemon.stop(), Some(0));
        drop(engine);
        let daemon = machine.start(&[REBOOT, ("LOCKSMITHD_DEBUG", "true")]);
        if before == "cordoned" {
            daemon.says("This machine takes units again");
        } else {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        assert_eq!(puts(&asked), expect, "{before}");
    }
}

#[test]
fn units_that_do_not_leave_hold_nothing_up_for_long() {
    let machine = Machine::new();
    let asked = fleet(&machine, "open", usize::MAX);
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT, ("LOCKSMITHD_DRAIN_TIMEOUT", "1s")]);
    wait("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    daemon.says("Not moved away in time: a.service");
    assert!(looks(&asked) >= 2);
}

#[test]
fn a_reboot_that_is_called_off_takes_the_units_back() {
    let machine = Machine::new();
    let asked = fleet(&machine, "open", 3);
    let engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[("REBOOT_STRATEGY", "etcd-lock")]);
    wait("a look at the units", || looks(&asked), |count| *count > 0);
    engine.says("UPDATE_STATUS_IDLE", "0.0.0");
    daemon.says("The reboot is called off: the update agent is at UPDATE_STATUS_IDLE");
    daemon.says("Released the lock: this machine does not reboot now");
    assert_eq!(puts(&asked), [r#"{"cordon":"draining"}"#, r#"{"cordon":"open"}"#]);
    assert_eq!(machine.bus.reboots(), [""; 0]);
    assert_eq!(machine.store.ctl(&["status"]), "Available: 1\nMax: 1\n");
}

#[test]
fn without_a_cluster_manager_nobody_is_asked() {
    let machine = Machine::new();
    let asked = fleet(&machine, "open", 0);
    machine.bus.change(|facts| {
        facts.units.insert("fleet.service".into(), "inactive".into());
    });
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[REBOOT]);
    wait("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    daemon.says("No cluster manager runs here: no units to move away");
    assert!(asked.lock().unwrap().is_empty());
}
