//! locksmithd from its start to the reboot.

use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use crate::machine::{Machine, own_id, wait_until};
use crate::server;
use crate::store::{METADATA, SEMAPHORE};

const NEED_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";
const ETCD_LOCK: (&str, &str) = ("REBOOT_STRATEGY", "etcd-lock");
const UNLOCKED: &str = r#"{"semaphore":1,"max":1,"holders":[]}"#;

fn held() -> String {
    format!(r#"{{"semaphore":0,"max":1,"holders":["{}"]}}"#, own_id())
}

/// Long enough for many retries of 50 ms.
fn pause() {
    std::thread::sleep(Duration::from_millis(700));
}

#[test]
fn healthy_machine_releases_the_lock_and_acquires_it_for_the_next_reboot() {
    let machine = Machine::new();
    machine.store.set(SEMAPHORE, &held());
    machine.bus.change(|state| {
        state.requires_good_boot = true;
        state.units.insert("boot-complete.target".into(), "inactive".into());
    });
    let engine = machine.bus.engine("UPDATE_STATUS_IDLE");
    let daemon = machine.start(&[ETCD_LOCK]);
    daemon.logs("locksmithd starting currentOperation=\"UPDATE_STATUS_IDLE\" strategy=\"etcd-lock\"");
    daemon.logs(
        "Not healthy yet, so the lock and the units stay as they are: boot-complete.target is inactive",
    );
    pause();
    assert_eq!(machine.store.get(SEMAPHORE), Some(held()));
    assert_eq!(machine.coordinator(), "NAME=locksmithd\nSTRATEGY=etcd-lock\nSTATE=running");
    machine.bus.change(|state| {
        state.units.insert("boot-complete.target".into(), "active".into());
    });
    daemon.logs("Unlocked existing lock for this machine");
    assert_eq!(machine.store.get(SEMAPHORE).as_deref(), Some(UNLOCKED));

    engine.logs("UPDATE_STATUS_DOWNLOADING", "3.0.0");
    daemon.logs("CurrentOperation=\"UPDATE_STATUS_DOWNLOADING\" NewVersion=3.0.0 NewSize=5");
    assert_eq!(machine.bus.reboots(), [""; 0]);
    engine.logs(NEED_REBOOT, "3.0.0");
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    // Inhibitors are honoured: SD_LOGIND_ROOT_CHECK_INHIBITORS.
    assert_eq!(machine.bus.reboots(), ["flags 1"]);
    assert_eq!(machine.store.get(SEMAPHORE), Some(held()));
    let notes = machine.store.get(METADATA).unwrap();
    assert!(notes.contains(&own_id()) && notes.contains("\"reason\":\"update to 3.0.0\""), "{notes}");
    daemon.logs("Reboot sent. Going to sleep.");
    assert_eq!(machine.coordinator(), "NAME=locksmithd\nSTRATEGY=etcd-lock\nSTATE=rebooting");
    let log = daemon.log();
    assert_eq!(daemon.stop(), Some(0), "{log}");
}

#[test]
fn stopped_for_the_reboot_before_logind_has_replied() {
    let machine = Machine::new();
    machine.bus.change(|state| state.reboot_reply_delay = Duration::from_millis(500));
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[("REBOOT_STRATEGY", "reboot")]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    assert_eq!(daemon.stop(), Some(0));
    let log = std::fs::read_to_string(machine.path("log")).unwrap();
    assert!(log.contains("Reboot sent. Going to sleep."), "{log}");
}

#[test]
fn waits_for_the_engine() {
    let machine = Machine::new();
    let daemon = machine.start(&[("REBOOT_STRATEGY", "reboot")]);
    daemon.logs("The update agent is not on the bus: waiting for it");
    let _engine = machine.bus.engine(NEED_REBOOT);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    // No lock was requested.
    assert_eq!(machine.store.get(SEMAPHORE), None);
}

#[test]
fn waits_for_the_lock() {
    let machine = Machine::new();
    machine.store.set(SEMAPHORE, r#"{"semaphore":0,"max":1,"holders":["other"]}"#);
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[("REBOOT_STRATEGY", "best-effort")]);
    daemon.logs("Failed to acquire lock: semaphore is at 0. Retrying in 100ms.");
    pause();
    assert_eq!(machine.bus.reboots(), [""; 0]);
    assert_eq!(machine.coordinator(), "NAME=locksmithd\nSTRATEGY=best-effort\nSTATE=reboot-planned");
    machine.store.ctl(&["unlock", "other"]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    assert_eq!(machine.store.get(SEMAPHORE), Some(held()));
}

#[test]
fn best_effort_without_etcd_needs_no_lock() {
    let machine = Machine::new();
    machine.bus.change(|state| state.units.clear());
    let _engine = machine.bus.engine(NEED_REBOOT);
    let _daemon = machine.start(&[("REBOOT_STRATEGY", "best-effort")]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    assert_eq!(machine.store.get(SEMAPHORE), None);
}

#[test]
fn inhibitor_blocks_reboot_and_lock() {
    let machine = Machine::new();
    let block = |what: &str, mode: &str| [what, "backup", "writing", mode].map(str::to_owned);
    machine.bus.change(|state| state.inhibitors = vec![block("sleep:shutdown", "block")]);
    let _engine = machine.bus.engine(NEED_REBOOT);
    let daemon = machine.start(&[ETCD_LOCK]);
    daemon.logs("The reboot is inhibited: backup (writing).");
    pause();
    assert_eq!(machine.bus.reboots(), [""; 0]);
    assert_eq!(machine.store.ctl(&["status"]), "Available: 1\nMax: 1\n");
    machine.bus.change(|state| state.inhibitors = vec![block("shutdown", "delay")]);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
}

#[test]
fn only_root_may_signal_a_needed_reboot() {
    if !nix::unistd::geteuid().is_root() {
        let test = "daemon::root_may_say_that_a_reboot_is_needed_and_others_may_not";
        eprintln!("SKIPPED: {test}: only root can run a program as another user");
        return;
    }
    let machine = Machine::new();
    let daemon = machine.start(&[("REBOOT_STRATEGY", "reboot")]);
    daemon.logs("The update agent is not on the bus");
    // In a folder where any user may execute it.
    let copy = machine.path("locksmithctl");
    std::fs::copy(env!("CARGO_BIN_EXE_locksmithd"), &copy).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(copy.parent().unwrap(), open).unwrap();
    let sent = std::process::Command::new(&copy)
        .env("DBUS_SYSTEM_BUS_ADDRESS", &machine.bus.address)
        .arg("send-need-reboot")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    assert!(sent.status.success(), "{sent:?}");
    daemon.logs("is neither the update agent nor root: ignored");
    assert_eq!(machine.bus.reboots(), [""; 0]);
    let began = Instant::now();
    assert!(machine.send_need_reboot().status().unwrap().success());
    assert!(began.elapsed() >= Duration::from_secs(1), "it stays on the bus to be asked about");
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
}

#[test]
fn one_coordinator_per_machine() {
    let machine = Machine::new();
    let daemon = machine.start(&[ETCD_LOCK]);
    daemon.logs("No configured reboot window");
    let second = machine.command(&[ETCD_LOCK]).output().unwrap();
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("unable to become 'update coordinator'"), "{stderr}");
    assert_eq!(daemon.stop(), Some(0));
    machine.start(&[ETCD_LOCK]).logs("No configured reboot window");
}

#[test]
fn invalid_settings() {
    let machine = Machine::new();
    let check = |variables: &[(&str, &str)], code: i32, expect: &str| {
        let exited = machine.command(variables).output().unwrap();
        let stderr = String::from_utf8(exited.stderr).unwrap();
        assert_eq!(exited.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(expect), "{stderr}");
    };
    check(&[("REBOOT_STRATEGY", "off")], 0, "Reboot strategy is \"off\" - locksmithd is exiting.");
    check(&[("REBOOT_STRATEGY", "bogus")], 2, "$REBOOT_STRATEGY: unknown strategy: bogus");
    let half = "Either both or neither $REBOOT_WINDOW_START and $REBOOT_WINDOW_LENGTH must be set";
    check(&[("REBOOT_WINDOW_START", "14:00")], 2, half);
    check(
        &[("REBOOT_WINDOW_START", "25:00"), ("REBOOT_WINDOW_LENGTH", "1h")],
        2,
        "Error parsing reboot window",
    );
    assert_eq!(machine.coordinator(), "");
}

#[test]
fn fleet_lock_server() {
    let machine = Machine::new();
    let open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let granted = std::sync::Arc::clone(&open);
    let (url, requests) = server::tcp(move |request| {
        if request.line.ends_with("pre-reboot") && !granted.load(std::sync::atomic::Ordering::Relaxed) {
            return (404, r#"{"kind":"failed_lock","value":"pre-reboot failed"}"#.to_owned());
        }
        (200, String::new())
    });
    let engine = machine.bus.engine("UPDATE_STATUS_IDLE");
    let daemon = machine.start(&[ETCD_LOCK, ("LOCKSMITHD_FLEET_LOCK_URL", &url), ("LOCKSMITHD_GROUP", "db")]);
    let lines = || requests.lock().unwrap().iter().map(|request| request.line.clone()).collect::<Vec<_>>();
    wait_until("the lock to be given back", lines, |all| all == &["POST /v1/steady-state"]);
    engine.logs(NEED_REBOOT, "");
    daemon.logs("Failed to acquire lock: pre-reboot failed (failed_lock). Retrying in 100ms.");
    assert_eq!(machine.bus.reboots(), [""; 0]);
    open.store(true, std::sync::atomic::Ordering::Relaxed);
    wait_until("a reboot", || machine.bus.reboots(), |all| !all.is_empty());
    let last = requests.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.line, "POST /v1/pre-reboot");
    assert!(last.head.contains("fleet-lock-protocol: true\r\n"), "{}", last.head);
    assert_eq!(last.body, format!(r#"{{"client_params":{{"id":"{}","group":"db"}}}}"#, own_id()));
    assert_eq!(machine.store.get(SEMAPHORE), None);
}
