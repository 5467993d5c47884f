//! Fetched file contents (`source` of `write_files`): https only, headers, and inline content as the fallback.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::server::{Server, encrypted, response};
use crate::support::{Machine, RunOutput};

/// Trusts the certificate and scales time down.
fn run(machine: &Machine, files: &str, arguments: &[&str]) -> RunOutput {
    machine.put("/user-data", &format!("#cloud-config\nwrite_files:\n{files}"));
    let from = format!("-from-file={}", machine.path("/user-data").display());
    let trusted = machine.path("/trusted");
    let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap()), ("COREOS_CLOUDINIT_TEST_HASTE", "100")];
    machine.start(&[&[&*from], arguments].concat(), &environment, b"")
}

/// A machine that trusts the server, its port, and a switch that turns all responses into 404.
fn served() -> (Machine, u16, Arc<AtomicBool>) {
    let is_unavailable = Arc::new(AtomicBool::new(false));
    let switch = is_unavailable.clone();
    let (port, certificate) = encrypted(move |request| {
        let may = request.header("X-Auth_Token") == Some("hush hush");
        match &*request.path {
            _ if switch.load(Ordering::Relaxed) => response("404 Not Found", "gone"),
            "/open" => response("200 OK", "from afar\n"),
            "/locked?key=hush" if may => response("200 OK", [0, 255]),
            _ => response("403 Forbidden", "no"),
        }
    });
    let machine = Machine::new();
    machine.put("/trusted", &certificate);
    (machine, port, is_unavailable)
}

#[test]
fn contents_are_fetched_with_headers_in_every_spelling() {
    let (machine, port, _) = served();
    machine.put("/etc/kept", "as it was\n");
    machine.put("/etc/longer", "first\n");
    let files = format!(
        "  - {{path: /etc/locked, permissions: '0600', source: {{uri: 'https://localhost:{port}/locked?key=hush', \
         headers: {{X-Auth_Token: hush hush}}}}}}\n  \
         - {{path: /etc/kept, overwrite: false, source: {{uri: 'https://localhost:{port}/nothing'}}}}\n  \
         - {{path: /etc/longer, append: true, source: {{uri: 'https://localhost:{port}/open'}}}}\n  \
         - {{path: /etc/own, content: own, source: {{headers: {{a: b}}}}}}\n"
    );
    run(&machine, &files, &[])
        .expect(0, &["Fetching the content of \"/etc/locked\"", "Wrote file to \"/etc/locked\""])
        .never_contains("hush");
    assert_eq!(std::fs::read(machine.path("/etc/locked")).unwrap(), [0, 255]);
    assert_eq!(machine.mode("/etc/locked"), 0o600);
    assert_eq!(machine.read("/etc/kept"), "as it was\n");
    assert_eq!(machine.read("/etc/longer"), "first\nfrom afar\n");
    assert_eq!(machine.read("/etc/own"), "own");
    run(&machine, &files, &[]).expect(0, &["Nothing changed"]);
    run(&machine, &files, &["-plan"])
        .expect(
            0,
            &["{\"op\":\"write\",\"path\":\"/etc/locked\",\"mode\":\"0600\",\"owner\":\"\",\"fetched\":true,"],
        )
        .never_contains("hush");
}

#[test]
fn inline_content_is_the_fallback() {
    let (machine, port, is_unavailable) = served();
    let files = format!(
        "  - {{path: /etc/a, content: stand-in, source: {{uri: 'https://localhost:{port}/open'}}}}\n  \
         - {{path: /etc/b, content: stand-in, source: {{uri: 'https://localhost:{port}/other'}}}}\n"
    );
    run(&machine, &files, &[]).expect(0, &["Failed to fetch /etc/b", "403", "Continuing..."]);
    assert_eq!((&*machine.read("/etc/a"), &*machine.read("/etc/b")), ("from afar\n", "stand-in"));
    // Previously fetched content is preferred to the fallback.
    is_unavailable.store(true, Ordering::Relaxed);
    run(&machine, &files, &[]).expect(0, &["File \"/etc/a\" exists and is not changed"]);
    assert_eq!(machine.read("/etc/a"), "from afar\n");
    assert!(machine.read("/run/coreos-cloudinit/result.json").contains("fetch /etc/a"));
    let files = format!(
        "  - {{path: /etc/c, source: {{uri: 'https://localhost:{port}/open'}}}}\n  \
         - {{path: /etc/d, content: d}}\n"
    );
    run(&machine, &files, &[]).expect(1, &["Failed to apply cloud-config: fetch /etc/c: ", "404"]);
    assert!(!machine.has("/etc/c"), "a page for people is no content");
    assert_eq!(machine.read("/etc/d"), "d");
}

#[test]
fn invalid_urls_and_headers_are_refused() {
    let plain = Server::pages(&[("/open", "from afar")]);
    let machine = Machine::new();
    let check = |source: &str, expect: &str| {
        let files = format!("  - {{path: /etc/a, source: {{{source}}}}}\n  - {{path: /etc/d, content: d}}\n");
        run(&machine, &files, &[]).expect(1, &[expect, "Wrote file to \"/etc/d\""]).never_contains("hush");
        std::fs::remove_file(machine.path("/etc/d")).unwrap();
        assert!(!machine.has("/etc/a"));
    };
    check(
        &format!("uri: '{}'", plain.url("/open?hush")),
        "fetch /etc/a: source uri is no https URL (line 3)",
    );
    check("uri: 'file:///etc/shadow'", "source uri is no https URL");
    check("uri: 'https://'", "source uri is no https URL");
    check("uri: 'https://a/', headers: {'a: b': hush}", "\"a: b\" is no name of a header");
    check(
        "uri: 'https://a/', headers: {a: \"hush\\r\\nb: c\"}",
        "the value of header \"a\" is no plain ASCII",
    );
    let many: String = (0..51).map(|number| format!("h{number}: x, ")).collect();
    check(&format!("uri: 'https://a/', headers: {{{many}}}"), "source has more than 50 headers");
    assert_eq!(plain.request_lines(), [""; 0]);
}
