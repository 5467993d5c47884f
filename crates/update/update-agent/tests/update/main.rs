//! Whole updates on a machine in a folder: from a folder, from one file, from a server that is good or bad, and killed
//! anywhere.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used)]

mod recall;
mod rotation;
mod server;
mod stopped;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use folder_machine::{Images, Machine, release, releases};
use server::{Fault, Server};
use update_core::status::Operation;
use update_core::trust::Wish;
use update_engine::{Checked, Done, Kind, Watch};

#[derive(Default)]
struct Seen(Mutex<Vec<Operation>>);

impl Watch for Seen {
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

fn run(machine: &Machine, args: &[&str]) -> Output {
    command(machine, args).output().unwrap()
}

fn check(machine: &Machine, server: &Server) -> Checked {
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    machine.updater().check(&settings, false, Wish::default(), &Seen::default())
}

fn serve(fault: Fault) -> Server {
    let releases = releases();
    Server::new(releases.full_only.folder.clone(), releases.keys.clone(), fault)
}

fn installed(checked: &Checked) -> bool {
    matches!(&checked.done, Ok(Done::Installed { version }) if version.to_string() == "3.0.0")
}

#[test]
fn a_release_from_a_folder_goes_to_the_other_slot() {
    let machine = Machine::new();
    let output = run(&machine, &["apply", releases().made.folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "Version 3.0.0 is installed and boots next: systemctl reboot\n"
    );
    machine.assert_sound();
    assert_eq!(machine.next(), "keelson_3.0.0+3-0.efi");
    let slots = run(&machine, &["slots"]);
    assert_eq!(
        String::from_utf8_lossy(&slots.stdout),
        "SLOT  VERSION  PRIORITY  TRIES  SUCCESSFUL  RUNNING\na     2.0.0    1         0      1           yes\n\
         b     3.0.0    2         3      0\n"
    );
    // And back, before it was booted.
    machine.updater().forget_pending().unwrap();
    assert_eq!(machine.next(), "keelson_2.0.0.efi");
    assert_eq!(machine.updater().pending(), None);
}

#[test]
fn a_release_in_one_file_does_the_same() {
    let machine = Machine::new();
    let bundle = machine.path("keelson-3.kup");
    releases().full_only.bundle(&bundle).unwrap();
    let output = run(&machine, &["apply", bundle.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.assert_sound();
    assert_eq!(machine.next(), "keelson_3.0.0+3-0.efi");
    fs::write(&bundle, &fs::read(&bundle).unwrap()[..5000]).unwrap();
    let machine = Machine::new();
    let output = run(&machine, &["apply", bundle.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(machine.next(), "keelson_2.0.0.efi");
}

#[test]
fn a_difference_is_taken_where_it_is_one_and_mended_where_what_runs_is_damaged() {
    let releases = releases();
    let machine = Machine::new();
    let server = Server::new(releases.made.folder.clone(), releases.keys.clone(), Fault::None);
    assert!(installed(&check(&machine, &server)));
    machine.assert_sound();
    let delta = server.sent();
    let full = releases.made.release.full.blob.size;
    assert!(delta < full / 2, "{delta} of {full}");
    let machine = Machine::new();
    machine.damage_running();
    let server = Server::new(releases.made.folder.clone(), releases.keys.clone(), Fault::None);
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.done);
    assert_eq!(machine.next(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn the_server_hears_of_each_step() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    let seen = Seen::default();
    let checked = machine.updater().check(&settings, false, Wish::default(), &seen);
    assert!(installed(&checked), "{:?}", checked.done);
    assert_eq!(server.events(), ["3/2 \"0.0.0.0\"", "13/1", "14/1", "3/1"]);
    use Operation::{Available, Checking, Downloading, Finalizing, Verifying};
    assert_eq!(*seen.0.lock().unwrap(), [Checking, Available, Downloading, Verifying, Finalizing]);
    // Asked again before the reboot: the same version is nothing new.
    let checked = check(&machine, &server);
    assert!(matches!(checked.done, Ok(Done::UpToDate(None))), "{:?}", checked.done);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
    // Booted again with what ran before: it fell back.
    fs::remove_file(machine.path("run/update_engine_autoupdate_completed")).unwrap();
    server.set(Fault::NoUpdate("paused"));
    let checked = check(&machine, &server);
    assert!(matches!(&checked.done, Ok(Done::UpToDate(Some(reason))) if reason == "paused"));
    assert_eq!(server.events().last().unwrap(), &format!("3/0 {}", 44 | 1 << 28));
    check(&machine, &server);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
}

/// Its grant would time out while it downloads over a slow link.
#[test]
fn the_server_is_notified_of_a_long_download_s_progress() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    let mut updater = machine.updater();
    updater.report = Duration::ZERO;
    let checked = updater.check(&settings, false, Wish::default(), &Seen::default());
    assert!(installed(&checked), "{:?}", checked.done);
    let events = server.events();
    let progress = events.iter().filter(|event| *event == "13/1").count();
    assert!(progress > 2, "{events:?}");
    assert_eq!(events[events.len() - 2..], ["14/1", "3/1"]);
}

#[test]
fn every_fault_of_a_server_leaves_the_running_version_and_says_why() {
    let portal = "<!DOCTYPE html><html>please log in</html>".to_owned();
    for (fault, kind, expect) in [
        (Fault::Status(503), Kind::Busy, "HTTP status 503"),
        (Fault::Status(404), Kind::Passing, "HTTP status 404"),
        (Fault::Says(String::new()), Kind::Passing, "empty"),
        (Fault::Says(portal), Kind::Passing, "please log in"),
        (Fault::Says("<response protocol=\"3.0\">".into()), Kind::Passing, "the server's answer is none"),
        (Fault::Portal, Kind::Passing, "please log in"),
        (Fault::Flipped, Kind::Refused, "not what was signed"),
        (Fault::NoRanges, Kind::Passing, "HTTP status 200"),
        (Fault::Missing("release.json"), Kind::Passing, "release.json: HTTP status 404"),
        (Fault::Missing("release.json.sig"), Kind::Passing, "release.json.sig: HTTP status 404"),
        (Fault::Stale, Kind::Refused, "shows an old state"),
        (Fault::Mixed, Kind::Refused, "of another release"),
    ] {
        let machine = Machine::new();
        let server = serve(fault.clone());
        let failure = check(&machine, &server).done.unwrap_err();
        assert_eq!(failure.kind, kind, "{fault:?}: {failure}");
        assert!(failure.message.contains(expect), "{fault:?}: {failure}");
        machine.assert_sound();
        assert_eq!(machine.next(), "keelson_2.0.0.efi", "{fault:?}");
        // The next one that is good is taken.
        server.set(Fault::None);
        let checked = check(&machine, &server);
        assert!(installed(&checked), "{fault:?}: {:?}", checked.done);
        machine.assert_sound();
    }
}

#[test]
fn connections_that_break_cost_nothing_but_themselves() {
    let machine = Machine::new();
    let server = serve(Fault::Short { bytes: 700, times: 20 });
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.done);
    machine.assert_sound();
    let full = releases().full_only.release.full.blob.size;
    assert!(server.sent() < full + 1000, "{} of {full}", server.sent());
}

#[test]
fn a_check_can_be_held_back_or_be_no_check_at_all() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    assert!(run(&machine, &["hold", "an audit"]).status.success());
    let checked = check(&machine, &server);
    assert!(
        matches!(&checked.done, Ok(Done::Held { reason, .. }) if reason == "an audit"),
        "{:?}",
        checked.done
    );
    assert!(run(&machine, &["unhold"]).status.success());
    let settings = machine.settings("SERVER=disabled\n");
    let checked = machine.updater().check(&settings, false, Wish::default(), &Seen::default());
    assert!(matches!(&checked.done, Ok(Done::Disabled(why)) if why.ends_with("update.conf:1")));
    // The place in the rollout is given back.
    assert_eq!(server.events(), ["3/2 \"0.0.0.0\"", "3/9"]);
}

#[test]
fn a_version_that_did_not_come_up_is_banned_until_it_is_asked_for() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    assert!(installed(&check(&machine, &server)));
    // Three boots later.
    machine.boot_image_becomes("3.0.0", "+0-3");
    let banned = machine.updater().note_outcomes().unwrap();
    assert_eq!(banned[0].version.to_string(), "3.0.0");
    assert!(machine.updater().note_outcomes().unwrap().is_empty());
    let failure = check(&machine, &server).done.unwrap_err();
    assert!(failure.message.contains("3.0.0 is not wanted on this machine: it did not come up"), "{failure}");
    assert_eq!(server.events().last().unwrap(), &format!("3/0 {}", 35 | 1 << 28));
    let output = run(&machine, &["retry", "3.0.0"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(installed(&check(&machine, &server)));
    machine.assert_sound();
    assert_eq!(run(&machine, &["retry", "3.0.0"]).status.code(), Some(1));
}

/// The initrd put it on trial again, and all tries failed.
#[test]
fn a_version_that_was_good_is_installed_again_where_its_slot_was_damaged() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    assert!(installed(&check(&machine, &server)));
    machine.boot_image_becomes("3.0.0", "+0-4");
    assert!(machine.updater().note_outcomes().unwrap().is_empty());
    machine.updater().memory.set_previous_version("").unwrap();
    assert!(installed(&check(&machine, &server)));
    machine.assert_sound();
    // Once: the new installation has three tries like any other.
    machine.boot_image_becomes("3.0.0", "+0-3");
    assert_eq!(machine.updater().note_outcomes().unwrap().len(), 1);
}

#[test]
fn a_version_that_waits_is_taken_back_when_its_channel_withdraws_it() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    assert!(installed(&check(&machine, &server)));
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server).done.unwrap();
    assert_eq!(machine.updater().pending(), None);
    machine.assert_sound();
    // After the group is resumed, it is installed again.
    server.set(Fault::None);
    assert!(installed(&check(&machine, &server)));
    // An operator's own installation is not withdrawn.
    let machine = Machine::new();
    assert!(run(&machine, &["apply", releases().made.folder.to_str().unwrap()]).status.success());
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server).done.unwrap();
    assert_eq!(machine.updater().pending().as_deref(), Some("3.0.0"));
}

/// A restart would boot the old version, which would look like a version that fell back: the server gives it up then.
#[test]
fn a_version_that_waits_is_forgotten_before_its_image_goes() {
    let machine = Machine::new();
    assert!(installed(&check(&machine, &serve(Fault::None))));
    let folder = machine.path("newer");
    release(&Images::new("4.0.0"), &releases().keys, &[], &folder);
    let server = Server::new(folder, releases().keys.clone(), Fault::Portal);
    let failure = check(&machine, &server).done.unwrap_err();
    assert!(failure.message.contains("please log in"), "{failure}");
    assert_eq!(machine.updater().pending(), None);
    assert_eq!(machine.next(), "keelson_2.0.0.efi");
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
}

#[test]
fn an_update_that_was_taken_back_has_not_fallen_back() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    assert!(installed(&check(&machine, &server)));
    machine.updater().forget_pending().unwrap();
    server.set(Fault::NoUpdate("paused"));
    check(&machine, &server);
    assert_eq!(server.events().last().unwrap(), "3/2 \"\"");
}

/// locksmithd calls a reboot off that nothing waits for any more.
#[test]
fn while_a_version_waits_checks_show_nothing_else() {
    let machine = Machine::new();
    let server = serve(Fault::None);
    assert!(installed(&check(&machine, &server)));
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    for fault in [Fault::None, Fault::NoUpdate("update-in-progress"), Fault::Status(503)] {
        server.set(fault);
        let seen = Seen::default();
        drop(machine.updater().check(&settings, false, Wish::default(), &seen));
        assert_eq!(*seen.0.lock().unwrap(), []);
    }
}

#[test]
fn rolling_back_needs_something_to_go_back_to() {
    let machine = Machine::new();
    let output = run(&machine, &["rollback"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no other version on this machine"), "{text}");
}

/// The promise of the whole: wherever it is killed, what can be booted is whole, and the next attempt ends well.
#[test]
fn killed_anywhere_the_machine_boots_and_the_next_attempt_goes_on() {
    let releases = releases();
    let machine = Machine::new();
    let folder = releases.full_only.folder.to_str().unwrap();
    let begun = std::time::Instant::now();
    assert!(run(&Machine::new(), &["apply", folder]).status.success());
    let whole = begun.elapsed();
    let kills = 12;
    for number in 0..kills {
        let mut child = command(&machine, &["apply", folder])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(number) / f64::from(kills)) + Duration::from_millis(3));
        child.kill().unwrap();
        child.wait().unwrap();
        machine.assert_sound();
    }
    let output = run(&machine, &["apply", folder]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.assert_sound();
    assert_eq!(machine.next(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn wrong_use_is_told_with_exit_code_two() {
    let machine = Machine::new();
    for args in [&["nonsense"][..], &[], &["apply"], &["slots", "--xml"]] {
        assert_eq!(run(&machine, args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(run(&machine, &["--help"]).status.code(), Some(0));
    let output = run(&machine, &["apply", "/nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere cannot be read"));
}
