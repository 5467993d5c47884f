//! Channels and operators that go back to an older version.

use std::fs;

use folder_machine::{Images, Machine, release, releases};
use update_core::trust::Seen;

use crate::server::{Fault, Server};
use crate::{check, installed, run, serve};

/// 4.0.0 is recalled: its download broke on this machine, as on others its boot.
#[test]
fn a_channel_that_goes_back_is_followed() {
    let machine = Machine::new();
    let folder = machine.path("newer");
    release(&Images::new("4.0.0"), &releases().keys, &[], &folder);
    let broken = Server::new(folder, releases().keys.clone(), Fault::Portal);
    check(&machine, &broken).done.unwrap_err();
    let checked = check(&machine, &serve(Fault::None));
    assert!(installed(&checked), "{:?}", checked.done);
}

#[test]
fn nothing_older_than_what_was_good_is_accepted_but_by_an_operator_s_order() {
    let machine = Machine::new();
    machine.updater().note_outcomes().unwrap();
    let seen = machine.updater().memory.seen().unwrap();
    assert_eq!(seen.version.as_ref().unwrap().to_string(), "2.0.0");
    // As if 4.0.0 had been good, and its slot damaged later.
    let version = Some("4.0.0".parse().unwrap());
    let good = Seen { epoch: 1, version, ..seen };
    machine.updater().memory.change_seen(|seen| *seen = good).unwrap();
    let server = serve(Fault::None);
    let failure = check(&machine, &server).done.unwrap_err();
    assert!(failure.message.contains("version 3.0.0 is older than 4.0.0"), "{failure}");
    assert_eq!(server.events().last().unwrap(), &format!("3/0 {}", 35 | 1 << 28));
    // Operators mount another release file over the image's to go back to an older channel.
    let file = machine.path("usr/share/coreos/release");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("VERSION=2.0.0", "VERSION=0.0.0")).unwrap();
    machine.updater().note_outcomes().unwrap();
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.done);
    let seen = machine.updater().memory.seen().unwrap();
    assert_eq!(seen.version.unwrap().to_string(), "3.0.0");
}

/// The daemon looks at the slots while the older version is pending.
#[test]
fn an_operator_s_downgrade_is_not_forgotten_before_its_boot() {
    let machine = Machine::new();
    machine.updater().note_outcomes().unwrap();
    let folder = machine.path("older");
    release(&Images::new("1.5.0"), &releases().keys, &[], &folder);
    let output = run(&machine, &["apply", "--allow-downgrade", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.updater().note_outcomes().unwrap();
    let highest = || machine.updater().memory.seen().unwrap().version.unwrap().to_string();
    assert_eq!(highest(), "1.5.0");
    // Called off, what runs counts again.
    machine.updater().forget_pending().unwrap();
    machine.updater().note_outcomes().unwrap();
    assert_eq!(highest(), "2.0.0");
}
