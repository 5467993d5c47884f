//! Failing metadata services: clear errors, bounded time, no secrets in the log.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::Machine;
use crate::support::server::{RecordedRequest, Response, Server};

/// Scales all waits down: five minutes become ten seconds.
const SPEEDUP: (&str, &str) = ("COREOS_CLOUDINIT_TEST_HASTE", "30");
const REQUEST_SPEEDUP: &str = "COREOS_CLOUDINIT_TEST_REQUEST_HASTE";
/// An unscaled silent service would take four minutes.
const TOTAL_LIMIT: Duration = Duration::from_secs(120);
/// Number of requests to a service that answers with errors.
const ALL: Counts = (15, 15);
/// Number of requests to a silent service in two minutes, at ten seconds each plus backoff. Fewer on a busy
/// machine.
const SOME: Counts = (5, 10);
const ONCE: Counts = (1, 1);
const REDIRECTED: Counts = (11, 11);
/// Once per probe.
const AGAIN: Counts = (1, usize::MAX);
const NONE: &str = "No datasources available in time: http://***@127.0.0.1:";
const DOCUMENT: &str = r#"{"hostname": "a"}"#;

/// Minimum and maximum.
type Counts = (usize, usize);
/// The response, the expected message, and the expected number of requests.
type Case = (Response, &'static str, Counts);

fn digitalocean(request: &RecordedRequest) -> Response {
    match &*request.path {
        "/metadata/v1" => Response::ok(""),
        "/metadata/v1.json" => Response::ok(DOCUMENT),
        "/metadata/v1/user-data" => Response::ok("#cloud-config\n"),
        _ => Response::not_found(),
    }
}

/// Runs all cases concurrently; each service misbehaves on one path only.
fn run(cases: Vec<Case>, path: &'static str, code: i32, more: &str, is_done: fn(&Machine) -> bool) {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (response, expected, (fewest, most)) in cases {
            scope.spawn(move || {
                let what = format!("{response:?}").chars().take(40).collect::<String>();
                let is_late = matches!(response, Response::Silent | Response::OneBytePerSecond);
                // Responsive services get the full timeout.
                let of_requests = (REQUEST_SPEEDUP, if is_late { "20" } else { "1" });
                let server = Server::with_handler(move |request| {
                    if request.path == path { response.clone() } else { digitalocean(request) }
                });
                let machine = Machine::new();
                let url = server.url("/").replace("//", "//user:hush@");
                let output =
                    machine.start(&["-from-digitalocean-metadata", &url], &[SPEEDUP, of_requests], b"");
                output.expect(code, &[expected, more]).never_contains("hush");
                assert!(is_done(&machine), "{what}");
                let count = server.requests().iter().filter(|request| request.path == path).count();
                assert!((fewest..=most).contains(&count), "{what}: asked {count} times");
            });
        }
    });
    assert!(start.elapsed() < TOTAL_LIMIT, "{:?}", start.elapsed());
}

fn has_hostname(machine: &Machine) -> bool {
    machine.has("/etc/hostname")
}

fn changed_nothing(machine: &Machine) -> bool {
    !machine.has("/etc/hostname") && !machine.has("/run/systemd")
}

#[test]
fn unavailable_service() {
    let cases = vec![
        (Response::not_found(), "/metadata/v1 is not there: HTTP status 404", AGAIN),
        (Response::status("500 Internal Server Error", ""), "Unable to fetch data: HTTP status 500", AGAIN),
        (Response::Bytes(b"garbage\r\n\r\n\0\xff".to_vec()), "Unable to fetch data: ", AGAIN),
        (Response::Close, "Unable to fetch data: ", AGAIN),
        (Response::Silent, "Unable to fetch data: timeout: global", AGAIN),
        (Response::OneBytePerSecond, "Unable to fetch data: timeout: global", AGAIN),
        (Response::Endless, "/metadata/v1 has more than 1048576 bytes", AGAIN),
        (Response::redirect("/metadata/v1"), "it is redirected too often", AGAIN),
        (Response::redirect("http://user:hush@h:1 2/?hush"), "it is malformed", AGAIN),
    ];
    run(cases, "/metadata/v1", 1, NONE, changed_nothing);
}

#[test]
fn metadata_applies_without_user_data() {
    let failed = "Failed fetching user-data from datasource: ";
    let cases = vec![
        (Response::status("503 Service Unavailable", ""), "Maximum retries reached: 15. Continuing...", ALL),
        (Response::Bytes(b"garbage\r\n\r\n".to_vec()), "Maximum retries reached: 15. Continuing...", ALL),
        (Response::Close, "Maximum retries reached: 15. Continuing...", ALL),
        (Response::Silent, "Unable to fetch data within 120s. Continuing...", SOME),
        (Response::OneBytePerSecond, "Unable to fetch data within 120s. Continuing...", SOME),
        (Response::Endless, "has more than 16777216 bytes. Continuing...", ONCE),
        (
            Response::redirect("/metadata/v1/user-data"),
            "it is redirected too often. Continuing...",
            REDIRECTED,
        ),
    ];
    run(cases, "/metadata/v1/user-data", 1, failed, has_hostname);
    run(
        vec![(Response::not_found(), "Set hostname to a", ONCE)],
        "/metadata/v1/user-data",
        0,
        "",
        has_hostname,
    );
}

#[test]
fn failed_metadata_aborts_the_run() {
    let failed = "error: Failed fetching meta-data from datasource: ";
    let cases = vec![
        (Response::status("500 Internal Server Error", ""), "Maximum retries reached: 15", ALL),
        (Response::Close, "Maximum retries reached: 15", ALL),
        (Response::Silent, "Unable to fetch data within 120s", SOME),
        (Response::OneBytePerSecond, "Unable to fetch data within 120s", SOME),
        (Response::Endless, "/metadata/v1.json has more than 1048576 bytes", ONCE),
        (Response::redirect("/metadata/v1.json"), "it is redirected too often", REDIRECTED),
        (Response::ok("garbage"), "metadata/v1.json is not valid: it is not JSON (line 1, column 1)", ONCE),
        // The largest allowed body.
        (
            Response::ok("[".repeat(1 << 20)),
            "metadata/v1.json is not valid: it is not JSON (line 1, column 128)",
            ONCE,
        ),
        (Response::ok([0xff, 0xfe]), "metadata/v1.json is not valid", ONCE),
    ];
    run(cases, "/metadata/v1.json", 1, failed, changed_nothing);
}

#[test]
fn transient_errors_are_retried() {
    for status in ["429 Too Many Requests", "408 Request Timeout", "500 Internal Server Error"] {
        let times = std::sync::Mutex::new(0);
        let server = Server::with_handler(move |request| {
            let mut times = times.lock().unwrap();
            *times += 1;
            if *times % 2 == 1 { Response::status(status, "") } else { digitalocean(request) }
        });
        let machine = Machine::new();
        let from = ["-from-digitalocean-metadata", &server.url("/")];
        machine
            .start(&from, &[SPEEDUP, (REQUEST_SPEEDUP, "1")], b"")
            .expect(0, &["Sleeping for 100ms...", "Set hostname to a"]);
        assert_eq!(server.request_lines().len(), 6, "{status}");
    }
}

#[test]
fn silent_service_does_not_delay_another() {
    let silent = Server::with_handler(|_| Response::Silent);
    let server = Server::with_handler(digitalocean);
    let machine = Machine::new();
    let from = ["-from-ec2-metadata", &silent.url("/"), "-from-digitalocean-metadata", &server.url("/")];
    machine
        .start(&from, &[], b"")
        .expect(0, &["of type \"digitalocean-metadata-service\"", "Set hostname to a"])
        // No request was abandoned.
        .never_contains("timeout");
    // Both are available: the order of the flag table decides, not that of the arguments.
    let ec2 = Server::pages(&[("/2009-04-04/", "")]);
    let from = ["-from-digitalocean-metadata", &server.url("/"), "-from-ec2-metadata", &ec2.url("/")];
    machine.start(&from, &[], b"").expect(0, &["user-data from datasource of type \"ec2-metadata-service\""]);
}

/// A mount point exists before its drive is mounted, and after a drive of an earlier boot was removed.
#[test]
fn empty_mount_point_of_a_config_drive_does_not_replace_a_service() {
    let server = Server::pages(&[("/2009-04-04/", ""), ("/2009-04-04/meta-data/hostname", "of-the-service")]);
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("/media/configdrive")).unwrap();
    let drive = format!("-from-configdrive={}", machine.path("/media/configdrive").display());
    let both = [&*drive, "-from-ec2-metadata", &server.url("/")];
    machine
        .start(&both, &[SPEEDUP, (REQUEST_SPEEDUP, "1")], b"")
        .expect(0, &["of type \"ec2-metadata-service\"", "Set hostname to of-the-service"]);
    // With its content it is a drive.
    machine.put("/media/configdrive/openstack/latest/meta_data.json", "{\"hostname\": \"of-the-drive\"}");
    machine
        .start(&both, &[SPEEDUP, (REQUEST_SPEEDUP, "1")], b"")
        .expect(0, &["Set hostname to of-the-drive"]);
    // Alone, a drive without files applies nothing.
    std::fs::remove_dir_all(machine.path("/media/configdrive/openstack")).unwrap();
    machine.start(&[&drive], &[], b"").expect(0, &["of type \"cloud-drive\""]);
}

#[test]
fn service_that_appears_later_is_used() {
    let times = AtomicU32::new(0);
    let server = Server::with_handler(move |request| {
        if times.fetch_add(1, Ordering::Relaxed) < 3 { Response::not_found() } else { digitalocean(request) }
    });
    let machine = Machine::new();
    let from = ["-from-digitalocean-metadata", &server.url("/")];
    machine.start(&from, &[], b"").expect(0, &["is not there: HTTP status 404", "Set hostname to a"]);
    // An interactive run fails immediately.
    let nothing = Server::pages(&[]);
    let from = ["-validate", "-from-digitalocean-metadata", &nothing.url("/")];
    let expected =
        format!("No datasource is available: {} does not respond as digitalocean", nothing.url("/"));
    machine.start(&from, &[], b"").expect(1, &[&expected]);
    assert_eq!(nothing.request_lines().len(), 1);
}

#[test]
fn proxy_of_the_environment_is_used() {
    let proxy = Server::with_handler(digitalocean);
    let machine = Machine::new();
    let from = ["-from-digitalocean-metadata", "http://metadata.invalid/"];
    let variable = format!("http://user:hush@{}/", proxy.address);
    let output = machine.start(&from, &[("http_proxy", &variable)], b"");
    output.expect(0, &["Set hostname to a"]).never_contains("hush");
    assert!(
        proxy.request_lines().contains(&"CONNECT metadata.invalid:80 HTTP/1.1".to_owned()),
        "{:?}",
        proxy.request_lines()
    );
    // `no_proxy` bypasses the proxy.
    let server = Server::with_handler(digitalocean);
    let from = ["-from-digitalocean-metadata", &server.url("/")];
    let dead = [("http_proxy", "http://127.0.0.1:1/"), ("no_proxy", "other.example, 127.0.0.1"), SPEEDUP];
    machine.start(&from, &dead, b"").expect(0, &[]);
}
