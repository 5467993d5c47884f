//! Servers that claim that there is no update.

use std::time::Duration;

use folder_machine::{Machine, releases};
use update_core::trust::UpdateOptions;
use update_engine::{CheckOutcome, Kind, Outcome, now};

use crate::repository::Metadata;
use crate::server::{Fault, Server};
use crate::{Operations, check, installed, run, server_with, updater};

const DAY: u64 = 86_400;

fn refusal(checked: &CheckOutcome) -> (Kind, String) {
    let failure = checked.confirmed.as_ref().unwrap().as_ref().unwrap_err();
    (failure.kind, failure.message.clone())
}

#[track_caller]
fn assert_up_to_date(checked: &CheckOutcome) {
    assert!(matches!(checked.outcome, Ok(Outcome::UpToDate(_))), "{:?}", checked.outcome);
}

#[test]
fn a_check_without_an_update_verifies_the_channels_timestamp() {
    let machine = Machine::new();
    let server = server_with(Fault::NoUpdate("up-to-date"));
    let checked = check(&machine, &server);
    assert_up_to_date(&checked);
    checked.confirmed.unwrap().unwrap();
    let freshness = machine.updater().state.freshness();
    assert_eq!(freshness.channel, "alpha");
    assert_eq!(freshness.version.as_ref().unwrap().to_string(), "3.0.0");
    assert!(freshness.expires.unwrap() > now() + 6 * DAY);
    assert!(freshness.outdated(now() + 6 * DAY).is_none());
}

#[test]
fn a_server_that_hides_new_releases_is_noticed_after_a_week() {
    for (fault, kind, reason) in [
        (Fault::Frozen, Kind::Rejected, "timestamp.json: expired at"),
        (Fault::Forged, Kind::Rejected, "timestamp.json: signed by 0 of 1 keys of role timestamp"),
        (Fault::NoTimestamp, Kind::Transient, "timestamp.json: the repository does not have it"),
    ] {
        let machine = Machine::new();
        let server = server_with(fault.clone());
        let checked = check(&machine, &server);
        assert_up_to_date(&checked);
        let (found, message) = refusal(&checked);
        assert_eq!(found, kind, "{fault:?}");
        assert!(message.contains(reason), "{fault:?}: {message}");
        let state = machine.updater().state;
        assert!(state.freshness().outdated(now()).is_none(), "{fault:?}");
        state.update_freshness(|freshness| freshness.since = now() - 8 * DAY).unwrap();
        check(&machine, &server);
        assert!(state.freshness().outdated(now()).is_some_and(|age| age / DAY == 8), "{fault:?}");
        server.set(Fault::NoUpdate("up-to-date"));
        check(&machine, &server).confirmed.unwrap().unwrap();
        assert!(state.freshness().outdated(now()).is_none(), "{fault:?}");
    }
}

#[test]
fn a_server_out_of_reach_is_noticed_after_a_week() {
    let machine = Machine::new();
    let server = server_with(Fault::Status(503));
    let state = machine.updater().state;
    let checked = check(&machine, &server);
    checked.outcome.unwrap_err();
    assert!(checked.confirmed.is_none());
    assert!(state.freshness().outdated(now() + 6 * DAY).is_none());
    assert!(state.freshness().outdated(now() + 8 * DAY).is_some());
}

/// An older timestamp, while it is still valid.
#[test]
fn a_replayed_timestamp_confirms_nothing() {
    let shared = releases();
    let machine = Machine::new();
    let old = Metadata::honest(&shared.full_only.folder, &shared.keys).sign(&shared.keys);
    let server = server_with(Fault::NoUpdate("up-to-date"));
    check(&machine, &server).confirmed.unwrap().unwrap();
    let replay = Server::new(shared.full_only.folder.clone(), shared.keys.clone(), Fault::None);
    replay.set(Fault::Serves(old.into_iter().collect()));
    let (kind, message) = refusal(&check(&machine, &replay));
    assert_eq!(kind, Kind::Rejected);
    assert!(message.contains("timestamp.json: rollback: version"), "{message}");
}

/// The channel has no version then.
#[test]
fn a_ban_withdraws_a_pending_version() {
    let machine = Machine::new();
    let server = server_with(Fault::None);
    check(&machine, &server).outcome.unwrap();
    assert_eq!(machine.updater().pending().as_deref(), Some("3.0.0"));
    server.set(Fault::Banned);
    let checked = check(&machine, &server);
    assert_up_to_date(&checked);
    checked.confirmed.unwrap().unwrap();
    assert_eq!(machine.updater().state.freshness().version, None);
    assert_eq!(machine.updater().pending(), None);
}

#[test]
fn status_exits_with_3_if_the_channel_is_outdated() {
    let machine = Machine::new();
    let path = machine.path("run/update-engine/status.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let status = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let output = run(&machine, &["status"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) =
        status(r#"{"outdated":"no new timestamp","channel_version":"3.0.0","channel_expires":86400}"#);
    assert_eq!(code, Some(3));
    assert_eq!(
        text,
        "Channel version     3.0.0, confirmed until 1970-01-02\nOutdated            no new timestamp\n"
    );
    let (code, text) = status(r#"{"outdated":null}"#);
    assert_eq!(code, Some(0));
    assert!(!text.contains("Outdated"), "{text}");
}

/// A slow transfer gives the server time to hide what was signed since.
#[test]
fn a_version_that_is_withdrawn_during_its_transfer_does_not_boot() {
    let machine = Machine::new();
    let server = server_with(Fault::Withdrawn);
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert_eq!(failure.kind, Kind::Transient);
    assert!(failure.message.contains("timestamp.json: the repository does not have it"), "{failure}");
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
    assert_eq!(machine.updater().pending(), None);
    // What was transferred is kept.
    let sent = server.sent();
    server.set(Fault::None);
    assert!(installed(&check(&machine, &server)));
    assert_eq!(server.sent(), sent);
}

#[test]
fn a_transfer_over_the_limit_ends_and_the_next_check_installs() {
    let machine = Machine::new();
    let server = server_with(Fault::Slow(Duration::from_millis(300)));
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    let mut updater = updater(&machine);
    updater.retry.limit = Duration::from_millis(200);
    let checked = updater.check(&settings, false, UpdateOptions::default(), &Operations::default());
    let failure = checked.outcome.unwrap_err();
    assert_eq!(failure.kind, Kind::Transient);
    assert!(failure.message.contains("the transfer took longer than 0 s"), "{failure}");
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
    server.set(Fault::None);
    assert!(installed(&check(&machine, &server)));
}
