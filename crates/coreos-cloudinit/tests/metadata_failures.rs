//! Metadata services that misbehave: each ends with a clear error in bounded time, and none says a secret.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use std::time::{Duration, Instant};

use support::Machine;
use support::server::{Answer, Asked, Server};

/// A hundredth of each time that the program waits: its five minutes are three seconds here.
const HASTE: (&str, &str) = ("COREOS_CLOUDINIT_TEST_HASTE", "100");
const IN_HASTE: Duration = Duration::from_secs(15);
const NONE: &str = "error: No datasources available in time";
const DOCUMENT: &str = r#"{"hostname": "a"}"#;

/// What a server does, and what is said of it.
type Case = (Answer, &'static str);

fn digitalocean(asked: &Asked) -> Answer {
    match &*asked.path {
        "/metadata/v1" => Answer::ok(""),
        "/metadata/v1.json" => Answer::ok(DOCUMENT),
        "/metadata/v1/user-data" => Answer::ok("#cloud-config\n"),
        _ => Answer::not_found(),
    }
}

/// Runs all at the same time; each with a service that does as told at one path, and well at all others.
fn run(cases: Vec<Case>, path: &'static str, code: i32, more: &str, is_done: fn(&Machine) -> bool) {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (answer, said) in cases {
            scope.spawn(move || {
                let what = format!("{answer:?}").chars().take(40).collect::<String>();
                let server =
                    Server::answering(
                        move |asked| {
                            if asked.path == path { answer.clone() } else { digitalocean(asked) }
                        },
                    );
                let machine = Machine::new();
                let url = server.url("/").replace("//", "//user:hush@");
                let done = machine.start(&["-from-digitalocean-metadata", &url], &[HASTE], b"");
                done.expect(code, &[said, more]).never_says("hush");
                assert!(is_done(&machine), "{what}");
            });
        }
    });
    assert!(start.elapsed() < IN_HASTE, "{:?}", start.elapsed());
}

fn has_hostname(machine: &Machine) -> bool {
    machine.has("/etc/hostname")
}

fn changed_nothing(machine: &Machine) -> bool {
    !machine.has("/etc/hostname") && !machine.has("/run/systemd")
}

#[test]
fn a_service_that_is_not_there() {
    let cases = vec![
        (Answer::not_found(), "/metadata/v1 is not there: HTTP status 404"),
        (Answer::status("500 Internal Server Error", ""), "Unable to fetch data: HTTP status 500"),
        (Answer::Bytes(b"garbage\r\n\r\n\0\xff".to_vec()), "Unable to fetch data: "),
        (Answer::Close, "Unable to fetch data: "),
        (Answer::Silence, "Unable to fetch data: timeout: global"),
        (Answer::OneByteASecond, "Unable to fetch data: timeout: global"),
        (Answer::Endless, "/metadata/v1 has more than 1048576 bytes"),
        (Answer::redirect("/metadata/v1"), "it is redirected too often"),
        (Answer::redirect("http://user:hush@h:1 2/?hush"), "it is malformed"),
    ];
    run(cases, "/metadata/v1", 1, NONE, changed_nothing);
}

#[test]
fn user_data_that_can_not_be_had_does_not_cost_the_metadata() {
    let failed = "Failed fetching user-data from datasource: ";
    let cases = vec![
        (Answer::status("503 Service Unavailable", ""), "Maximum retries reached: 15. Continuing..."),
        (Answer::Bytes(b"garbage\r\n\r\n".to_vec()), "Maximum retries reached: 15. Continuing..."),
        (Answer::Close, "Maximum retries reached: 15. Continuing..."),
        (Answer::Silence, "Unable to fetch data within 120s. Continuing..."),
        (Answer::OneByteASecond, "Unable to fetch data within 120s. Continuing..."),
        (Answer::Endless, "has more than 16777216 bytes. Continuing..."),
        (Answer::redirect("/metadata/v1/user-data"), "it is redirected too often. Continuing..."),
    ];
    run(cases, "/metadata/v1/user-data", 1, failed, has_hostname);
    run(vec![(Answer::not_found(), "Set hostname to a")], "/metadata/v1/user-data", 0, "", has_hostname);
}

#[test]
fn metadata_that_can_not_be_had_ends_the_run() {
    let failed = "error: Failed fetching meta-data from datasource: ";
    let cases = vec![
        (Answer::status("500 Internal Server Error", ""), "Maximum retries reached: 15"),
        (Answer::Close, "Maximum retries reached: 15"),
        (Answer::Silence, "Unable to fetch data within 120s"),
        (Answer::OneByteASecond, "Unable to fetch data within 120s"),
        (Answer::Endless, "/metadata/v1.json has more than 1048576 bytes"),
        (Answer::redirect("/metadata/v1.json"), "it is redirected too often"),
        (Answer::ok("garbage"), "metadata/v1.json is not valid: it is not JSON (line 1, column 1)"),
        // As large as it may be.
        (
            Answer::ok("[".repeat(1 << 20)),
            "metadata/v1.json is not valid: it is not JSON (line 1, column 128)",
        ),
        (Answer::ok([0xff, 0xfe]), "metadata/v1.json is not valid"),
    ];
    run(cases, "/metadata/v1.json", 1, failed, changed_nothing);
}

#[test]
fn what_is_busy_is_asked_again() {
    for status in ["429 Too Many Requests", "408 Request Timeout", "500 Internal Server Error"] {
        let times = std::sync::Mutex::new(0);
        let server = Server::answering(move |asked| {
            let mut times = times.lock().unwrap();
            *times += 1;
            if *times % 2 == 1 { Answer::status(status, "") } else { digitalocean(asked) }
        });
        let machine = Machine::new();
        let from = ["-from-digitalocean-metadata", &server.url("/")];
        machine.start(&from, &[HASTE], b"").expect(0, &["Sleeping for 100ms...", "Set hostname to a"]);
        assert_eq!(server.asked().len(), 6, "{status}");
    }
}

#[test]
fn a_service_that_never_answers_does_not_hold_up_another() {
    let silent = Server::answering(|_| Answer::Silence);
    let server = Server::answering(digitalocean);
    let machine = Machine::new();
    let start = Instant::now();
    let from = ["-from-ec2-metadata", &silent.url("/"), "-from-digitalocean-metadata", &server.url("/")];
    machine
        .start(&from, &[], b"")
        .expect(0, &["of type \"digitalocean-metadata-service\"", "Set hostname to a"]);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    // Both are there: the order of the flags' table decides, not that of the arguments.
    let ec2 = Server::pages(&[("/2009-04-04/", "")]);
    let from = ["-from-digitalocean-metadata", &server.url("/"), "-from-ec2-metadata", &ec2.url("/")];
    machine.start(&from, &[], b"").expect(0, &["user-data from datasource of type \"ec2-metadata-service\""]);
}

#[test]
fn a_service_that_comes_later_is_waited_for() {
    let start = Instant::now();
    let server = Server::answering(move |asked| {
        if start.elapsed() < Duration::from_millis(500) { Answer::not_found() } else { digitalocean(asked) }
    });
    let machine = Machine::new();
    let from = ["-from-digitalocean-metadata", &server.url("/")];
    machine.start(&from, &[], b"").expect(0, &["is not there: HTTP status 404", "Set hostname to a"]);
    // A person who checks is answered at once.
    let nothing = Server::pages(&[]);
    let from = ["-validate", "-from-digitalocean-metadata", &nothing.url("/")];
    let said = format!("No datasource is available: {} does not answer as digitalocean", nothing.url("/"));
    machine.start(&from, &[], b"").expect(1, &[&said]);
    assert_eq!(nothing.asked().len(), 1);
}

#[test]
fn the_environments_proxy_is_asked() {
    let proxy = Server::answering(digitalocean);
    let machine = Machine::new();
    let from = ["-from-digitalocean-metadata", "http://metadata.invalid/"];
    let variable = format!("http://user:hush@{}/", proxy.address);
    let done = machine.start(&from, &[("http_proxy", &variable)], b"");
    done.expect(0, &["Set hostname to a"]).never_says("hush");
    assert!(
        proxy.asked().contains(&"CONNECT metadata.invalid:80 HTTP/1.1".to_owned()),
        "{:?}",
        proxy.asked()
    );
    // What is excepted is asked without it.
    let server = Server::answering(digitalocean);
    let from = ["-from-digitalocean-metadata", &server.url("/")];
    let dead = [("http_proxy", "http://127.0.0.1:1/"), ("no_proxy", "other.example, 127.0.0.1"), HASTE];
    machine.start(&from, &dead, b"").expect(0, &[]);
}
