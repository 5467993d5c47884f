//! Byte-exact messages of the contract, and compatibility with contemporary readers.

use omaha::{
    Action, App, AppStatus, COREOS_APP_ID, CheckResponse, ErrorCode, Event, EventResult, EventType, Manifest,
    Os, Package, ReadError, Request, Response, ResponseApp, ResponseError, UpdateCheck, UpdateStatus,
    file_url,
};

const CHECK: &str = include_str!("../golden/check.xml");
const UPDATE: &str = include_str!("../golden/update.xml");
const NO_UPDATE: &str = include_str!("../golden/noupdate.xml");

fn check() -> Request {
    Request {
        version: "update_engine-0.4.10".into(),
        updater_version: "update_engine-0.4.10".into(),
        install_source: "scheduler".into(),
        is_machine: true,
        os: Os {
            version: "Chateau".into(),
            platform: "CoreOS".into(),
            sp: "2023.5.0_x86_64".into(),
            arch: None,
        },
        apps: vec![App {
            app_id: COREOS_APP_ID.into(),
            version: "2023.5.0".into(),
            track: "stable".into(),
            boot_id: "{cc9b6b2e-6a9c-4a1a-9d0b-0d4b4cbb2d33}".into(),
            oem: "qemu".into(),
            aleph_version: "1967.6.0".into(),
            machine_id: "b2f1aa0c5d1d4f43b1e5b3f0c2a9d801".into(),
            lang: "en-US".into(),
            board: "amd64-usr".into(),
            ping: true,
            update_check: true,
            events: vec![Event::rebooted("")],
            ..App::default()
        }],
    }
}

fn update() -> Response {
    let payload: omaha::Sha256 =
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse().unwrap();
    let package = Package {
        name: "update.gz".into(),
        sha1: "BASE64-SHA1=".into(),
        sha256: Some(payload),
        size: 443_829_103,
        required: true,
    };
    let metadata = Package {
        name: "release.json".into(),
        sha256: Some(omaha::Sha256([0; 32])),
        size: 812,
        ..Package::default()
    };
    let found = UpdateCheck {
        urls: vec!["https://updates.example.net/amd64-usr/2079.3.0/".into()],
        manifest: Some(Manifest {
            version: "2079.3.0".into(),
            packages: vec![package, metadata],
            actions: vec![Action::postinstall(payload)],
        }),
        ..UpdateCheck::without_update(UpdateStatus::Ok, None)
    };
    Response {
        server: "keelson".into(),
        day_start: 0,
        apps: vec![ResponseApp::echo(&check().apps[0], AppStatus::Ok, found)],
    }
}

#[test]
fn a_check_is_byte_identical_to_the_original() {
    assert_eq!(check().write(), CHECK);
    assert_eq!(Request::read(CHECK.as_bytes()).unwrap(), check());
}

#[test]
fn an_offer_is_byte_identical_to_the_contract() {
    assert_eq!(update().write(), UPDATE);
    assert_eq!(Response::read(UPDATE.as_bytes()).unwrap(), update());
}

#[test]
fn a_response_without_update_has_a_reason() {
    let request =
        App { app_id: "E96281A6-D1AF-4BDE-9A0A-97B76E56DC57".into(), update_check: true, ..App::default() };
    let mut check = UpdateCheck::without_update(UpdateStatus::NoUpdate, Some("max-concurrent".into()));
    check.poll_interval = Some(300);
    let apps = vec![ResponseApp::echo(&request, AppStatus::Ok, check)];
    let response = Response { server: "keelson".into(), day_start: 40_321, apps };
    assert_eq!(response.write(), NO_UPDATE);
    let read = Response::read(NO_UPDATE.as_bytes()).unwrap();
    assert_eq!(read, response);
    let expect = CheckResponse::NoUpdate { reason: Some("max-concurrent"), poll_interval: Some(300) };
    assert_eq!(read.check_response(), Ok(expect));
}

#[test]
fn only_requested_elements_are_echoed() {
    let none = UpdateCheck::without_update(UpdateStatus::NoUpdate, None);
    let mut request = App { app_id: "{A}".into(), ..App::default() };
    let answer = ResponseApp::echo(&request, AppStatus::Ok, none.clone());
    assert_eq!(
        (answer.app_id.as_str(), answer.ping, answer.update_check, answer.events),
        ("{A}", false, None, 0)
    );
    request.ping = true;
    request.events = vec![Event::failed(ErrorCode::ROLLBACK), Event::rebooted("1.0.0")];
    let answer = ResponseApp::echo(&request, AppStatus::Ok, none);
    assert_eq!((answer.ping, answer.update_check, answer.events), (true, None, 2));
}

#[test]
fn events_are_parsed() {
    let text = CHECK.replace(
        r#"<event eventtype="3" eventresult="2" previousversion=""></event>"#,
        r#"<event eventtype="3" eventresult="0" errorcode="268435465"/>
           <event eventtype="3" eventresult="0" errorcode="-1879048183"/>
           <event eventtype="3" eventresult="2" previousversion="1967.6.0"/>
           <event eventtype="3" eventresult="2" previousversion="0.0.0.0"/>
           <event eventtype="777" eventresult="55" previousversion="1.0.0"/>"#,
    );
    let events = Request::read(text.as_bytes()).unwrap().apps.remove(0).events;
    assert_eq!(events[0], Event::failed(ErrorCode(0x1000_0009)));
    assert_eq!(events[1], Event::failed(ErrorCode(0x9000_0009)), "printed as a signed number");
    assert_eq!(events[2].completed_from(), Some("1967.6.0"));
    assert_eq!(events[3].completed_from(), None, "the first check of a machine");
    assert_eq!((events[4].kind, events[4].result), (EventType(777), EventResult(55)));
    assert_eq!(events[4].completed_from(), None);
}

#[test]
fn unknown_content_is_ignored() {
    let text = "\u{feff}<!-- c --><request xmlns='x' protocol='3.0' testsource='y'><hw a='1'/><os arch='arm64'/>\
        <app appid='a&amp;b' machinealias='rack &#x31;'><data>text</data><updatecheck targetversionprefix='1'/>\
        <ping r='1' a='2'/></app></request>";
    let request = Request::read(text.as_bytes()).unwrap();
    let app = &request.apps[0];
    assert_eq!((app.app_id.as_str(), app.machine_alias.as_deref()), ("a&b", Some("rack 1")));
    assert!(app.update_check && app.ping && !app.delta_okay && !request.is_machine);
    assert_eq!(request.os.arch.as_deref(), Some("arm64"));
}

#[test]
fn errors_have_positions() {
    let check = |text: &str, expect: &str| {
        assert_eq!(Request::read(text.as_bytes()).unwrap_err().to_string(), expect, "{text}");
    };
    check("  ", "empty document");
    check("<response protocol='3.0'/>", "the root element is response, expected request (line 1, column 1)");
    check("\n <request protocol='2.0'/>", "unsupported protocol \"2.0\", expected 3.0 (line 2, column 2)");
    check("<request/>", "unsupported protocol \"\", expected 3.0 (line 1, column 1)");
    check(
        "<request protocol='3.0'>\n<app><event eventtype='3'/></app></request>",
        "event lacks eventresult (line 2, column 6)",
    );
    check(
        "<request protocol='3.0'><app><event eventtype='3' eventresult='x'/></app></request>",
        "invalid eventresult=\"x\" of event: not a number in range (line 1, column 30)",
    );
    check(
        "<request protocol='3.0'><app><event eventtype='3' eventresult='0' errorcode='4294967296'/></app></request>",
        "invalid errorcode=\"4294967296\" of event: not an error code (line 1, column 30)",
    );
    for text in [
        "<request protocol='3.0'>\n<app>",
        "<!DOCTYPE request [<!ENTITY a \"b\">]>\n<request protocol='3.0'/>",
    ] {
        let error = Request::read(text.as_bytes()).unwrap_err();
        assert!(matches!(error, ReadError::Xml { .. }), "{error}");
    }
    let many = format!("<request protocol='3.0'>{}</request>", "<app/>".repeat(17));
    check(&many, "more than 16 elements app (line 1, column 121)");
    let large = format!("{CHECK}{}", " ".repeat(64 << 10));
    check(&large, &format!("{} bytes, the maximum is 65536", large.len()));
    assert_eq!(Request::read(b"<r\xff>").unwrap_err(), ReadError::NotUtf8 { valid: 2 });
}

#[test]
fn the_first_of_each_element_counts() {
    let second = UPDATE.replace(" <app", " <app appid='other' status='ok'></app>\n <app");
    let second = second.replace("</actions>", "<action event='postinstall' sha256='x'/></actions>");
    // Unused elements must be valid, too.
    let error = Response::read(second.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("invalid sha256=\"x\" of action: expected"), "{error}");
    let second = second.replace("sha256='x'", "");
    let response = Response::read(second.as_bytes()).unwrap();
    let CheckResponse::Update(offer) = response.check_response().unwrap() else { panic!("no offer") };
    assert_eq!(
        (offer.version, offer.payload.name.as_str(), offer.payload.size),
        ("2079.3.0", "update.gz", 443_829_103)
    );
    assert_eq!(Some(offer.sha256), offer.payload.sha256);
    assert_eq!((offer.max_failures_per_url, offer.disable_payload_backoff), (10, true));
    // The payload is no further file.
    let further: Vec<_> = offer.additional.iter().map(|package| (&*package.name, package.size)).collect();
    assert_eq!(further, [("release.json", 812)]);
    assert_eq!(file_url(&offer.urls[0], "a"), "https://updates.example.net/amd64-usr/2079.3.0/a");
    assert_eq!(file_url("http://h/x", "a"), "http://h/x/a");
}

#[test]
fn incomplete_offers_are_rejected() {
    let response_error = |from: &str, to: &str| {
        let text = UPDATE.replacen(from, to, 1);
        assert_ne!(text, UPDATE, "{from}");
        let error = Response::read(text.as_bytes()).unwrap().check_response().unwrap_err();
        assert_eq!(error.code(), ErrorCode(34));
        error
    };
    assert_eq!(
        response_error("<url codebase=\"https://updates.example.net/amd64-usr/2079.3.0/\"></url>", ""),
        ResponseError::NoUrl
    );
    assert_eq!(response_error("443829103", "0"), ResponseError::NoSize { name: "update.gz".into() });
    assert_eq!(response_error("\"postinstall\"", "\"other\""), ResponseError::NoAction);
    assert_eq!(response_error(" sha256=\"47", " sha1=\"47"), ResponseError::NoSha256);
    let nothing = UPDATE.replace("updatecheck", "other");
    let error = Response::read(nothing.as_bytes()).unwrap().check_response().unwrap_err();
    assert_eq!(error.to_string(), "the response has no updatecheck element");
}

#[test]
fn errors_of_other_servers_are_reported() {
    let text = "<response protocol='3.0'><app appid='a' status='error-updatesDisabled'>\
        <updatecheck status='error-internal'/></app></response>";
    let response = Response::read(text.as_bytes()).unwrap();
    assert_eq!(response.apps[0].status, AppStatus::Other("error-updatesDisabled".into()));
    assert_eq!(
        response.check_response().unwrap_err().to_string(),
        "the server responded with status \"error-internal\" (application status \"error-updatesDisabled\")"
    );
    assert_eq!(Response::read(b"").unwrap_err().code(), ErrorCode(30));
    assert_eq!(Response::read(b"<html><body>log in").unwrap_err().code(), ErrorCode(31));
    assert_eq!(Response::read(b"<html></html>").unwrap_err().code(), ErrorCode(34));
}
