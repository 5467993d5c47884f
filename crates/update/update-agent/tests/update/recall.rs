//! Channels and operators that return to an older version.

use std::fs;

use folder_machine::{Images, Machine, release, releases};
use update_core::trust::TrustState;

use crate::server::{Fault, Server};
use crate::{check, installed, run, server_with};

/// 4.2.0 is recalled because it does not boot on other machines. Here its download failed.
#[test]
fn an_older_version_of_the_channel_is_installed() {
    let machine = Machine::new();
    let folder = machine.path("newer");
    release(&Images::new("4.2.0"), &releases().keys, &[], &folder);
    let broken = Server::new(folder, releases().keys.clone(), Fault::Portal);
    check(&machine, &broken).outcome.unwrap_err();
    let checked = check(&machine, &server_with(Fault::None));
    assert!(installed(&checked), "{:?}", checked.outcome);
}

#[test]
fn only_operators_can_install_versions_older_than_the_last_good_one() {
    let machine = Machine::new();
    machine.updater().record_outcomes().unwrap();
    let state = machine.updater().state.trust_state().unwrap();
    assert_eq!(state.version.as_ref().unwrap().to_string(), "2.0.0");
    // As if 4.0.0 had been good before its slot was damaged.
    let version = Some("4.0.0".parse().unwrap());
    let good = TrustState { epoch: 1, version, ..state };
    machine.updater().state.update_trust_state(|state| *state = good).unwrap();
    let server = server_with(Fault::None);
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert!(failure.message.contains("version 3.0.0 is older than 4.0.0"), "{failure}");
    assert_eq!(server.events().last().unwrap(), &format!("3/0 {}", 35 | 1 << 28));
    // Operators mount another release file over the image's to return to an older channel.
    let file = machine.path("usr/share/coreos/release");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("VERSION=2.0.0", "VERSION=0.0.0")).unwrap();
    machine.updater().record_outcomes().unwrap();
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.outcome);
    let state = machine.updater().state.trust_state().unwrap();
    assert_eq!(state.version.unwrap().to_string(), "3.0.0");
}

/// The daemon inspects the slots while the older version is pending.
#[test]
fn an_operators_downgrade_is_remembered_until_its_boot() {
    let machine = Machine::new();
    machine.updater().record_outcomes().unwrap();
    let folder = machine.path("older");
    release(&Images::new("1.5.0"), &releases().keys, &[], &folder);
    let output = run(&machine, &["apply", "--allow-downgrade", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.updater().record_outcomes().unwrap();
    let highest = || machine.updater().state.trust_state().unwrap().version.unwrap().to_string();
    assert_eq!(highest(), "1.5.0");
    // When the downgrade is discarded, the running version counts again.
    machine.updater().discard_pending().unwrap();
    machine.updater().record_outcomes().unwrap();
    assert_eq!(highest(), "2.0.0");
}

#[test]
fn a_rollback_needs_another_version() {
    let machine = Machine::new();
    let output = run(&machine, &["rollback"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no other version on this machine"), "{text}");
}
