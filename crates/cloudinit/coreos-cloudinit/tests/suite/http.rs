//! User-data over HTTP: retries, limits, redirects, caps, and no secrets in the log.

use std::time::{Duration, Instant};

use crate::support::Machine;
use crate::support::server::{Server, encrypted, redirect, response};

const CONFIG: &str = "#cloud-config\nhostname: from-http\n";
/// Upper bound of a run without retries.
const NO_WAIT_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn unavailable_url_is_retried_and_fetched_once() {
    let busy = response("503 Service Unavailable", "");
    let server = Server::start(vec![busy, response("429 Too Many Requests", ""), response("200 OK", CONFIG)]);
    let machine = Machine::new();
    machine.start(&["-from-url", &server.url("/config")], &[], b"").expect(
        0,
        &[
            "Checking availability of \"url\"",
            &format!("Fetching data from {}. Attempt #1\n", server.url("/config")),
            "Sleeping for 100ms...\n",
            "Unable to fetch data: HTTP status 429",
            "Sleeping for 200ms...\n",
            "Attempt #3\n",
            "Fetching user-data from datasource of type \"url\"",
        ],
    );
    assert_eq!(machine.read("/etc/hostname"), "from-http\n");
    assert_eq!(server.request_lines(), ["GET /config HTTP/1.1"; 3]);
}

#[test]
fn redirects_are_limited() {
    let server = Server::start(vec![redirect("/b"), redirect("/c"), response("200 OK", CONFIG)]);
    let machine = Machine::new();
    machine.start(&["-from-url", &server.url("/a")], &[], b"").expect(0, &["Set hostname to from-http"]);
    assert_eq!(server.request_lines(), ["GET /a HTTP/1.1", "GET /b HTTP/1.1", "GET /c HTTP/1.1"]);
    let circle = Server::start(vec![redirect("/again")]);
    machine.start(&["-from-url", &circle.url("/")], &[], b"").expect(1, &["it is redirected too often"]);
    assert_eq!(circle.request_lines().len(), 11);
}

#[test]
fn https_is_never_downgraded() {
    let plain = Server::pages(&[("/config", CONFIG)]);
    let to = plain.url("/config");
    let (port, certificate) = encrypted(move |request| match &*request.path {
        "/config" => response("200 OK", CONFIG),
        "/moved" => redirect("/config"),
        _ => redirect(&to),
    });
    let machine = Machine::new();
    machine.put("/trusted", &certificate);
    let trusted = machine.path("/trusted");
    let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let run = |url: &str| machine.start(&["-from-url", url], &environment, b"");
    run(&format!("https://localhost:{port}/moved")).expect(0, &["Set hostname to from-http"]);
    let entry = Server::start(vec![redirect(&format!("https://localhost:{port}/moved"))]);
    run(&entry.url("/")).expect(0, &[]);
    let left = ["it leads from https to http", "No datasources available in time"];
    run(&format!("https://localhost:{port}/left")).expect(1, &left);
    let entry = Server::start(vec![redirect(&format!("https://localhost:{port}/left"))]);
    run(&entry.url("/")).expect(1, &left);
    assert_eq!(plain.request_lines(), [""; 0]);
}

#[test]
fn permanent_failures_are_reported_immediately_without_secrets() {
    let server = Server::start(vec![response("404 Not Found", "")]);
    let machine = Machine::new();
    let start = Instant::now();
    let url = format!("http://user:hush@{}/x?token=hush", server.address);
    machine
        .start(&["-validate", "-from-url", &url], &[], b"")
        .expect(1, &[&format!("http://***@{}/x?*** is not there: HTTP status 404", server.address)])
        .never_contains("hush");
    for (url, expected) in [
        ("ftp://hush:hush@h/x", "URL ftp://***@h/x does not have a valid HTTP scheme. Skipping."),
        ("http://a b/", "cannot fetch http://a b/: it is malformed"),
        ("https://127.0.0.1/", "cannot read /no/certificates"),
    ] {
        machine
            .start(&["-from-url", url], &[("SSL_CERT_FILE", "/no/certificates")], b"")
            .expect(1, &[expected, "No datasources available in time"])
            .never_contains("hush");
    }
    let largest = Server::start(vec![response("200 OK", vec![b'#'; 16 << 20])]);
    machine.start(&["-from-url", &largest.url("/")], &[], b"").expect(1, &["Unrecognized user-data format"]);
    let large = Server::start(vec![response("200 OK", vec![b'#'; (16 << 20) + 1])]);
    machine
        .start(&["-from-url", &large.url("/")], &[], b"")
        .expect(1, &["has more than 16777216 bytes", "No datasources available in time"]);
    assert!(start.elapsed() < NO_WAIT_LIMIT, "{:?}", start.elapsed());
}

#[test]
fn available_source_does_not_wait_for_others() {
    let server = Server::start(vec![response("503 Service Unavailable", "")]);
    let machine = Machine::new();
    let start = Instant::now();
    machine.run(CONFIG, &["-from-url", &server.url("/")]).expect(0, &["of type \"local-file\""]);
    machine.put("/drive/openstack/latest/meta_data.json", "{}");
    let drive = format!("-from-configdrive={}", machine.path("/drive").display());
    machine.start(&["-from-url", &server.url("/"), &drive], &[], b"").expect(0, &["of type \"cloud-drive\""]);
    assert!(start.elapsed() < NO_WAIT_LIMIT, "{:?}", start.elapsed());
}

#[test]
fn url_on_the_kernel_command_line() {
    let server = Server::start(vec![response("200 OK", CONFIG)]);
    let machine = Machine::new();
    let from = ["-from-proc-cmdline"];
    machine.start(&from, &[], b"").expect(1, &["No datasources available in time"]);
    machine.put("/proc/cmdline", "quiet cloud-config-url\n");
    machine.start(&from, &[], b"").expect(
        1,
        &["Skipping kernel argument cloud-config-url: it has no value", "No datasources available in time"],
    );
    for (url, expected) in [
        ("", "Failed fetching user-data from datasource: URL is empty. Skipping.. Continuing..."),
        ("file:///x", "URL file:///x does not have a valid HTTP scheme. Skipping."),
    ] {
        machine.put("/proc/cmdline", &format!("cloud-config-url=http://x cloud-config-url={url}\n"));
        machine.start(&from, &[], b"").expect(1, &[expected]);
    }
    machine.put("/proc/cmdline", &format!("a=b cloud_config_url={}\n", server.url("/c")));
    machine.start(&from, &[], b"").expect(0, &["of type \"proc-cmdline\"", "Set hostname to from-http"]);
    assert_eq!(server.request_lines(), ["GET /c HTTP/1.1"]);
}
