//! Complete updates of a simulated machine: from a folder, a bundle, and good and bad servers, with kills at any
//! time.

// clippy recognizes unit tests only.
#![allow(clippy::unwrap_used)]

mod attacks;
mod freeze;
mod recall;
mod repository;
mod rotation;
mod server;
mod stopped;
mod worker;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use folder_machine::{Images, Machine, release, releases};
use server::{Fault, Server};
use update_core::status::Operation;
use update_core::trust::UpdateOptions;
use update_engine::{CheckOutcome, Isolation, Kind, Observer, Outcome, Updater};

#[derive(Default)]
struct Operations(Mutex<Vec<Operation>>);

impl Observer for Operations {
    fn operation(&self, operation: Operation) {
        self.0.lock().unwrap().push(operation);
    }
    fn found(&self, _: &str, _: u64) {}
    fn progress(&self, _: u64, _: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}

fn command(machine: &Machine, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_update-agent"));
    command.args(args).env("UPDATE_AGENT_ROOT", machine.root());
    command
}

/// Its transfers and frames are in children of the program, as on a machine.
fn updater(machine: &Machine) -> Updater {
    let mut updater = machine.updater();
    updater.isolation = Isolation::Process(env!("CARGO_BIN_EXE_update-agent").into());
    updater
}

fn run(machine: &Machine, args: &[&str]) -> Output {
    command(machine, args).output().unwrap()
}

fn check(machine: &Machine, server: &Server) -> CheckOutcome {
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    updater(machine).check(&settings, false, UpdateOptions::default(), &Operations::default())
}

fn server_with(fault: Fault) -> Server {
    let releases = releases();
    Server::new(releases.full_only.folder.clone(), releases.keys.clone(), fault)
}

fn installed(checked: &CheckOutcome) -> bool {
    matches!(&checked.outcome, Ok(Outcome::Installed { version }) if version.to_string() == "3.0.0")
}

#[test]
fn a_release_folder_is_installed_to_the_other_slot() {
    let machine = Machine::new();
    let output = run(&machine, &["apply", releases().with_delta.folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Version 3.0.0 is installed and boots next. To reboot: systemctl reboot\n"
    );
    machine.assert_bootable();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
    let slots = run(&machine, &["slots"]);
    assert_eq!(
        String::from_utf8_lossy(&slots.stdout),
        "SLOT  VERSION  PRIORITY  TRIES  SUCCESSFUL  RUNNING\na     2.0.0    1         0      1           yes\n\
         b     3.0.0    2         3      0\n"
    );
    // Discard it before the reboot.
    machine.updater().discard_pending().unwrap();
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
    assert_eq!(machine.updater().pending(), None);
}

#[test]
fn each_request_proves_the_registration_token() {
    const TOKEN: &str = "000102030405060708090a0b0c0d0e0f1011121314151617";
    let machine = Machine::new();
    let server = server_with(Fault::None);
    check(&machine, &server);
    let before = server.registered(TOKEN);
    assert!(!before.is_empty() && !before.contains(&true), "{before:?}");
    let machine = Machine::new();
    fs::create_dir_all(machine.path("etc/keelson")).unwrap();
    fs::write(machine.path("etc/keelson/registration.token"), format!("{TOKEN}\n")).unwrap();
    assert!(installed(&check(&machine, &server)));
    let after = server.registered(TOKEN).split_off(before.len());
    // The check, and events of the update.
    assert!(after.len() >= 4 && !after.contains(&false), "{after:?}");
    assert!(!server.registered("another token of this length").contains(&true));
}

#[test]
fn a_bundle_is_installed_to_the_other_slot() {
    let machine = Machine::new();
    let bundle = machine.path("keelson-3.kup");
    releases().full_only.bundle(&bundle).unwrap();
    let output = run(&machine, &["apply", bundle.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.assert_bootable();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
    fs::write(&bundle, &fs::read(&bundle).unwrap()[..5000]).unwrap();
    let machine = Machine::new();
    let output = run(&machine, &["apply", bundle.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
}

#[test]
fn a_delta_is_used_and_repaired_if_the_running_slot_is_damaged() {
    let releases = releases();
    let machine = Machine::new();
    let server = Server::new(releases.with_delta.folder.clone(), releases.keys.clone(), Fault::None);
    assert!(installed(&check(&machine, &server)));
    machine.assert_bootable();
    let delta = server.sent();
    let full = releases.with_delta.release.full.blob.size;
    assert!(delta < full / 2, "{delta} of {full}");
    let machine = Machine::new();
    machine.damage_running();
    let server = Server::new(releases.with_delta.folder.clone(), releases.keys.clone(), Fault::None);
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.outcome);
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn each_step_is_reported_to_the_server() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    let operations = Operations::default();
    let checked = updater(&machine).check(&settings, false, UpdateOptions::default(), &operations);
    assert!(installed(&checked), "{:?}", checked.outcome);
    assert_eq!(server.events(), ["3/2 \"0.0.0.0\"", "13/1", "14/1", "3/1"]);
    use Operation::{Available, Checking, Downloading, Finalizing, Verifying};
    assert_eq!(*operations.0.lock().unwrap(), [Checking, Available, Downloading, Verifying, Finalizing]);
    // A check before the reboot: the same version is not an update.
    let checked = check(&machine, &server);
    assert!(matches!(checked.outcome, Ok(Outcome::UpToDate(None))), "{:?}", checked.outcome);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
    // The old version booted again: a rollback.
    fs::remove_file(machine.path("run/update_engine_autoupdate_completed")).unwrap();
    server.set(Fault::NoUpdate("paused"));
    let checked = check(&machine, &server);
    assert!(matches!(&checked.outcome, Ok(Outcome::UpToDate(Some(reason))) if reason == "paused"));
    assert_eq!(server.events().last().unwrap(), &format!("3/0 {}", 44 | 1 << 28));
    check(&machine, &server);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
}

/// The grant would expire during a download over a slow link.
#[test]
fn download_progress_is_reported_to_the_server() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    let mut updater = updater(&machine);
    updater.report_interval = Duration::ZERO;
    let checked = updater.check(&settings, false, UpdateOptions::default(), &Operations::default());
    assert!(installed(&checked), "{:?}", checked.outcome);
    let events = server.events();
    let progress = events.iter().filter(|event| *event == "13/1").count();
    assert!(progress > 2, "{events:?}");
    assert_eq!(events[events.len() - 2..], ["14/1", "3/1"]);
}

#[test]
fn every_server_fault_is_reported_and_harmless() {
    let portal = "<!DOCTYPE html><html>please log in</html>".to_owned();
    for (fault, kind, expect) in [
        (Fault::Status(503), Kind::Busy, "HTTP status 503"),
        (Fault::Status(404), Kind::Transient, "HTTP status 404"),
        (Fault::Body(String::new()), Kind::Transient, "empty"),
        (Fault::Body(portal), Kind::Transient, "please log in"),
        (
            Fault::Body("<response protocol=\"3.0\">".into()),
            Kind::Transient,
            "invalid response of the server",
        ),
        (Fault::Portal, Kind::Transient, "please log in"),
        (Fault::Flipped, Kind::Rejected, "does not match its signed hash"),
        (Fault::NoRanges, Kind::Transient, "HTTP status 200"),
        (Fault::Missing("release.json"), Kind::Transient, "release.json: HTTP status 404"),
        (
            Fault::Missing("timestamp.json"),
            Kind::Transient,
            "timestamp.json: the repository does not have it",
        ),
        (Fault::Stale, Kind::Rejected, "timestamp.json: expired at"),
        (Fault::MixedReleases, Kind::Rejected, "is not what channel alpha has: that is 2.9.0"),
    ] {
        let machine = Machine::new();
        let server = server_with(fault.clone());
        let failure = check(&machine, &server).outcome.unwrap_err();
        assert_eq!(failure.kind, kind, "{fault:?}: {failure}");
        assert!(failure.message.contains(expect), "{fault:?}: {failure}");
        machine.assert_bootable();
        assert_eq!(machine.next_boot(), "keelson_2.0.0.efi", "{fault:?}");
        // The next good offer is accepted.
        server.set(Fault::None);
        let checked = check(&machine, &server);
        assert!(installed(&checked), "{fault:?}: {:?}", checked.outcome);
        machine.assert_bootable();
    }
}

#[test]
fn broken_connections_do_not_repeat_the_download() {
    let machine = Machine::new();
    let server = server_with(Fault::Short { bytes: 700, times: 20 });
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.outcome);
    machine.assert_bootable();
    let full = releases().full_only.release.full.blob.size;
    assert!(server.sent() < full + 1000, "{} of {full}", server.sent());
}

#[test]
fn updates_can_be_held_or_disabled() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    assert!(run(&machine, &["hold", "an audit"]).status.success());
    let checked = check(&machine, &server);
    assert!(
        matches!(&checked.outcome, Ok(Outcome::Held { reason, .. }) if reason == "an audit"),
        "{:?}",
        checked.outcome
    );
    assert!(run(&machine, &["unhold"]).status.success());
    let settings = machine.settings("SERVER=disabled\n");
    let checked = updater(&machine).check(&settings, false, UpdateOptions::default(), &Operations::default());
    assert!(matches!(&checked.outcome, Ok(Outcome::Disabled(why)) if why.ends_with("update.conf:1")));
    // The slot in the rollout is released.
    assert_eq!(server.events(), ["3/2 \"0.0.0.0\"", "3/9"]);
}

#[test]
fn a_version_that_did_not_boot_is_banned_until_retried() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    assert!(installed(&check(&machine, &server)));
    // Three boots later.
    machine.set_tries("3.0.0", "+0-3");
    let banned = machine.updater().record_outcomes().unwrap();
    assert_eq!(banned[0].version.to_string(), "3.0.0");
    assert!(machine.updater().record_outcomes().unwrap().is_empty());
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert!(failure.message.contains("3.0.0 is banned on this machine: failed to boot"), "{failure}");
    assert_eq!(server.events().last().unwrap(), &format!("3/0 {}", 35 | 1 << 28));
    let output = run(&machine, &["retry", "3.0.0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(installed(&check(&machine, &server)));
    machine.assert_bootable();
    assert_eq!(run(&machine, &["retry", "3.0.0"]).status.code(), Some(1));
}

/// The initrd renamed the entry to retry it, and all tries failed.
#[test]
fn a_version_that_was_good_is_reinstalled_after_its_slot_was_damaged() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    assert!(installed(&check(&machine, &server)));
    machine.set_tries("3.0.0", "+0-4");
    assert!(machine.updater().record_outcomes().unwrap().is_empty());
    machine.updater().state.set_previous_version("").unwrap();
    assert!(installed(&check(&machine, &server)));
    machine.assert_bootable();
    // Only once: the new installation has three tries as any other.
    machine.set_tries("3.0.0", "+0-3");
    assert_eq!(machine.updater().record_outcomes().unwrap().len(), 1);
}

#[test]
fn a_pending_version_is_discarded_when_its_channel_withdraws_it() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    assert!(installed(&check(&machine, &server)));
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server).outcome.unwrap();
    assert_eq!(machine.updater().pending(), None);
    machine.assert_bootable();
    // After the group is resumed, the version is installed again.
    server.set(Fault::None);
    assert!(installed(&check(&machine, &server)));
    // An operator's installation is not withdrawn.
    let machine = Machine::new();
    assert!(run(&machine, &["apply", releases().with_delta.folder.to_str().unwrap()]).status.success());
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server).outcome.unwrap();
    assert_eq!(machine.updater().pending().as_deref(), Some("3.0.0"));
}

/// A reboot would start the old version, which looks like a rollback, and the server would give up the version.
#[test]
fn a_pending_version_is_discarded_before_its_image_is_removed() {
    let machine = Machine::new();
    assert!(installed(&check(&machine, &server_with(Fault::None))));
    let folder = machine.path("newer");
    release(&Images::new("4.0.0"), &releases().keys, &[], &folder);
    let server = Server::new(folder, releases().keys.clone(), Fault::Portal);
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert!(failure.message.contains("please log in"), "{failure}");
    assert_eq!(machine.updater().pending(), None);
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
}

#[test]
fn a_discarded_update_is_not_reported_as_a_rollback() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    assert!(installed(&check(&machine, &server)));
    machine.updater().discard_pending().unwrap();
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
}

/// locksmithd cancels a reboot when the status changes.
#[test]
fn checks_do_not_change_the_status_of_a_pending_version() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    assert!(installed(&check(&machine, &server)));
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    for fault in [Fault::None, Fault::NoUpdate("update-in-progress"), Fault::Status(503)] {
        server.set(fault);
        let operations = Operations::default();
        drop(updater(&machine).check(&settings, false, UpdateOptions::default(), &operations));
        assert_eq!(*operations.0.lock().unwrap(), []);
    }
}

/// Wherever the update is killed, all bootable versions are complete, and the next attempt succeeds.
#[test]
fn killed_anywhere_the_machine_boots_and_the_next_attempt_succeeds() {
    let releases = releases();
    let machine = Machine::new();
    let folder = releases.full_only.folder.to_str().unwrap();
    let started = std::time::Instant::now();
    assert!(run(&Machine::new(), &["apply", folder]).status.success());
    let total = started.elapsed();
    let kills = 12;
    for number in 0..kills {
        let mut child = command(&machine, &["apply", folder])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(total.mul_f64(f64::from(number) / f64::from(kills)) + Duration::from_millis(3));
        child.kill().unwrap();
        child.wait().unwrap();
        machine.assert_bootable();
    }
    let output = run(&machine, &["apply", folder]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.assert_bootable();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn usage_errors_exit_with_two() {
    let machine = Machine::new();
    for args in [&["nonsense"][..], &[], &["apply"], &["slots", "--xml"]] {
        assert_eq!(run(&machine, args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&machine, &["--help"]).status.code(), Some(0));
    let output = run(&machine, &["apply", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read /nowhere"));
}
