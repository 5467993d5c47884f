//! Metadata services that misbehave: each ends with a clear error in bounded time, and none says a secret.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use support::Machine;
use support::server::{Answer, Asked, Server};

/// A part of each time that the program waits: its five minutes are ten seconds here.
const HASTE: (&str, &str) = ("COREOS_CLOUDINIT_TEST_HASTE", "30");
const REQUEST_HASTE: &str = "COREOS_CLOUDINIT_TEST_REQUEST_HASTE";
/// What is silent would take four minutes without haste.
const IN_HASTE: Duration = Duration::from_secs(120);
/// How often what answers with an error is asked.
const ALL: Counts = (15, 15);
/// How often what does not answer is asked in two minutes, at ten seconds each and what is waited between. On a busy
/// machine a request may take longer.
const SOME: Counts = (5, 10);
const ONCE: Counts = (1, 1);
const REDIRECTED: Counts = (11, 11);
/// Each time that it is looked for again.
const AGAIN: Counts = (1, usize::MAX);
const NONE: &str = "error: No datasources available in time";
const DOCUMENT: &str = r#"{"hostname": "a"}"#;

/// The fewest and the most.
type Counts = (usize, usize);
/// What a server does, what is said of it, and how often it is asked.
type Case = (Answer, &'static str, Counts);

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
        for (answer, said, (fewest, most)) in cases {
            scope.spawn(move || {
                let what = format!("{answer:?}").chars().take(40).collect::<String>();
                let is_late = matches!(answer, Answer::Silence | Answer::OneByteASecond);
                // Who answers has time enough for it.
                let of_requests = (REQUEST_HASTE, if is_late { "20" } else { "1" });
                let server =
                    Server::answering(
                        move |asked| {
                            if asked.path == path { answer.clone() } else { digitalocean(asked) }
                        },
                    );
                let machine = Machine::new();
                let url = server.url("/").replace("//", "//user:hush@");
                let done = machine.start(&["-from-digitalocean-metadata", &url], &[HASTE, of_requests], b"");
                done.expect(code, &[said, more]).never_says("hush");
                assert!(is_done(&machine), "{what}");
                let asked = server.requests().iter().filter(|asked| asked.path == path).count();
                assert!((fewest..=most).contains(&asked), "{what}: asked {asked} times");
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
        (Answer::not_found(), "/metadata/v1 is not there: HTTP status 404", AGAIN),
        (Answer::status("500 Internal Server Error", ""), "Unable to fetch data: HTTP status 500", AGAIN),
        (Answer::Bytes(b"garbage\r\n\r\n\0\xff".to_vec()), "Unable to fetch data: ", AGAIN),
        (Answer::Close, "Unable to fetch data: ", AGAIN),
        (Answer::Silence, "Unable to fetch data: timeout: global", AGAIN),
        (Answer::OneByteASecond, "Unable to fetch data: timeout: global", AGAIN),
        (Answer::Endless, "/metadata/v1 has more than 1048576 bytes", AGAIN),
        (Answer::redirect("/metadata/v1"), "it is redirected too often", AGAIN),
        (Answer::redirect("http://user:hush@h:1 2/?hush"), "it is malformed", AGAIN),
    ];
    run(cases, "/metadata/v1", 1, NONE, changed_nothing);
}

#[test]
fn user_data_that_cannot_be_had_does_not_cost_the_metadata() {
    let failed = "Failed fetching user-data from datasource: ";
    let cases = vec![
        (Answer::status("503 Service Unavailable", ""), "Maximum retries reached: 15. Continuing...", ALL),
        (Answer::Bytes(b"garbage\r\n\r\n".to_vec()), "Maximum retries reached: 15. Continuing...", ALL),
        (Answer::Close, "Maximum retries reached: 15. Continuing...", ALL),
        (Answer::Silence, "Unable to fetch data within 120s. Continuing...", SOME),
        (Answer::OneByteASecond, "Unable to fetch data within 120s. Continuing...", SOME),
        (Answer::Endless, "has more than 16777216 bytes. Continuing...", ONCE),
        (Answer::redirect("/metadata/v1/user-data"), "it is redirected too often. Continuing...", REDIRECTED),
    ];
    run(cases, "/metadata/v1/user-data", 1, failed, has_hostname);
    run(
        vec![(Answer::not_found(), "Set hostname to a", ONCE)],
        "/metadata/v1/user-data",
        0,
        "",
        has_hostname,
    );
}

#[test]
fn metadata_that_cannot_be_had_ends_the_run() {
    let failed = "error: Failed fetching meta-data from datasource: ";
    let cases = vec![
        (Answer::status("500 Internal Server Error", ""), "Maximum retries reached: 15", ALL),
        (Answer::Close, "Maximum retries reached: 15", ALL),
        (Answer::Silence, "Unable to fetch data within 120s", SOME),
        (Answer::OneByteASecond, "Unable to fetch data within 120s", SOME),
        (Answer::Endless, "/metadata/v1.json has more than 1048576 bytes", ONCE),
        (Answer::redirect("/metadata/v1.json"), "it is redirected too often", REDIRECTED),
        (Answer::ok("garbage"), "metadata/v1.json is not valid: it is not JSON (line 1, column 1)", ONCE),
        // As large as it may be.
        (
            Answer::ok("[".repeat(1 << 20)),
            "metadata/v1.json is not valid: it is not JSON (line 1, column 128)",
            ONCE,
        ),
        (Answer::ok([0xff, 0xfe]), "metadata/v1.json is not valid", ONCE),
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
        machine
            .start(&from, &[HASTE, (REQUEST_HASTE, "1")], b"")
            .expect(0, &["Sleeping for 100ms...", "Set hostname to a"]);
        assert_eq!(server.asked().len(), 6, "{status}");
    }
}

#[test]
fn a_service_that_never_answers_does_not_hold_up_another() {
    let silent = Server::answering(|_| Answer::Silence);
    let server = Server::answering(digitalocean);
    let machine = Machine::new();
    let from = ["-from-ec2-metadata", &silent.url("/"), "-from-digitalocean-metadata", &server.url("/")];
    machine
        .start(&from, &[], b"")
        .expect(0, &["of type \"digitalocean-metadata-service\"", "Set hostname to a"])
        // So a request ends that is waited for.
        .never_says("timeout");
    // Both are there: the order of the flags' table decides, not that of the arguments.
    let ec2 = Server::pages(&[("/2009-04-04/", "")]);
    let from = ["-from-digitalocean-metadata", &server.url("/"), "-from-ec2-metadata", &ec2.url("/")];
    machine.start(&from, &[], b"").expect(0, &["user-data from datasource of type \"ec2-metadata-service\""]);
}

#[test]
fn a_service_that_comes_later_is_waited_for() {
    let times = AtomicU32::new(0);
    let server = Server::answering(move |asked| {
        if times.fetch_add(1, Ordering::Relaxed) < 3 { Answer::not_found() } else { digitalocean(asked) }
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
