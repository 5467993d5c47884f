//! Writing and parsing any message round-trips.

use omaha::{
    Action, App, AppStatus, ErrorCode, Event, EventResult, EventType, Manifest, Os, Package, Request,
    Response, ResponseApp, Sha256, UpdateCheck, UpdateStatus,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// Any text that XML can represent.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,4}\\.[0-9]\\.[0-9]",
        vec(
            prop_oneof![Just('\t'), Just('\n'), Just('\r'), Just('"'), Just('&'), Just('<'), any::<char>()],
            0..12
        )
        .prop_map(|all| all.into_iter().filter(|c| *c >= ' ' || "\t\n\r".contains(*c)).collect::<String>())
        .prop_map(|text| text.replace(['\u{fffe}', '\u{ffff}'], "")),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u32>(), any::<u32>(), of(any::<u32>()), of(text())).prop_map(|(kind, result, error, previous)| {
        Event {
            kind: EventType(kind),
            result: EventResult(result),
            error: error.map(ErrorCode),
            previous_version: previous,
        }
    })
}

prop_compose! {
    fn app()(
        names in proptest::array::uniform11(text()),
        machine_alias in of(text()),
        flags in proptest::array::uniform3(any::<bool>()),
        events in vec(event(), 0..4),
    ) -> App {
        let [app_id, version, track, boot_id, oem, oem_version, aleph_version, machine_id, lang, board, hardware_class]
            = names;
        let [delta_okay, ping, update_check] = flags;
        App {
            app_id, version, track, boot_id, oem, oem_version, aleph_version, machine_id, machine_alias, lang, board,
            hardware_class, delta_okay, ping, update_check, events,
        }
    }
}

prop_compose! {
    fn request()(
        names in proptest::array::uniform6(text()),
        arch in of(text()),
        is_machine in any::<bool>(),
        apps in vec(app(), 0..3),
    ) -> Request {
        let [version, updater_version, install_source, os, platform, sp] = names;
        Request { version, updater_version, install_source, is_machine, os: Os { version: os, platform, sp, arch }, apps }
    }
}

fn digest() -> impl Strategy<Value = Option<Sha256>> {
    of(any::<[u8; 32]>().prop_map(Sha256))
}

prop_compose! {
    fn package()(name in text(), sha1 in text(), sha256 in digest(), size: u64, required: bool) -> Package {
        Package { name, sha1, sha256, size, required }
    }
}

prop_compose! {
    fn action()(event in text(), sha256 in digest(), flags: [bool; 3], max in of(any::<u32>())) -> Action {
        let [needs_admin, disable_payload_backoff, is_delta_payload] = flags;
        Action { event, sha256, needs_admin, disable_payload_backoff, is_delta_payload, max_failures_per_url: max }
    }
}

prop_compose! {
    fn manifest()(version in text(), packages in vec(package(), 0..4), actions in vec(action(), 0..3)) -> Manifest {
        Manifest { version, packages, actions }
    }
}

fn update_status() -> impl Strategy<Value = UpdateStatus> {
    prop_oneof![
        Just(UpdateStatus::Ok),
        Just(UpdateStatus::NoUpdate),
        Just(UpdateStatus::Internal),
        text().prop_map(|as_str| UpdateStatus::Other(format!("error-x{as_str}"))),
    ]
}

prop_compose! {
    fn update_check()(
        status in update_status(),
        reason in of(text()),
        poll_interval in of(any::<u32>()),
        urls in vec(text(), 0..3),
        manifest in of(manifest()),
    ) -> UpdateCheck {
        UpdateCheck { status, reason, poll_interval, urls, manifest }
    }
}

prop_compose! {
    fn response_app()(
        app_id in text(),
        as_str in of(text()),
        ping: bool,
        update_check in of(update_check()),
        events in 0_usize..4,
    ) -> ResponseApp {
        let status = as_str.map_or(AppStatus::Ok, |as_str| AppStatus::Other(format!("error-x{as_str}")));
        ResponseApp { app_id, status, ping, update_check, events }
    }
}

proptest! {
    #[test]
    fn requests_round_trip(request in request()) {
        prop_assert_eq!(Request::read(request.write().as_bytes()), Ok(request));
    }

    #[test]
    fn responses_round_trip(server in text(), day_start: u32, apps in vec(response_app(), 0..3)) {
        let response = Response { server, day_start, apps };
        prop_assert_eq!(Response::read(response.write().as_bytes()), Ok(response));
    }

    /// Characters that XML cannot represent are replaced.
    #[test]
    fn any_text_gives_well_formed_xml(text in any::<String>()) {
        let app = App { app_id: text.clone(), track: "\0\u{ffff}".into(), ..App::default() };
        let request = Request { apps: vec![app], ..Request::default() };
        let read = Request::read(request.write().as_bytes()).map(|request| request.apps[0].clone());
        let read = read.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.app_id.chars().count(), text.chars().count());
        prop_assert_eq!(&read.track, "\u{fffd}\u{fffd}");
    }
}
