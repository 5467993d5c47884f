//! Imported SSH keys: fetched, stored by source, and never blocking the rest.

use std::time::{Duration, Instant};

use crate::support::server::{Response, Server};
use crate::support::{Machine, RunOutput};

/// Upper bound of a run without retries.
const NO_WAIT_LIMIT: Duration = Duration::from_secs(60);

fn user_data(imports: &str) -> String {
    format!(
        "#cloud-config\nhostname: later\nusers:\n  - name: elroy\n    ssh_authorized_keys: [own]\n{imports}\n\
         write_files: [{{path: /etc/later, content: x}}]\n"
    )
}

/// Uses `server` in place of GitHub and scales time down.
fn run(machine: &Machine, server: &Server, imports: &str) -> RunOutput {
    machine.put("/user-data", &user_data(imports));
    let from = format!("-from-file={}", machine.path("/user-data").display());
    let environment =
        [("COREOS_CLOUDINIT_TEST_GITHUB", &*server.url("")), ("COREOS_CLOUDINIT_TEST_HASTE", "20")];
    machine.start(&[&from], &environment, b"")
}

fn keys(machine: &Machine) -> String {
    machine.read("/home/elroy/.ssh/authorized_keys")
}

#[test]
fn keys_are_fetched_in_order_and_stored_by_source() {
    let server = Server::pages(&[
        ("/users/a/keys", "[{\"id\": 1, \"key\": \"of a\"}, {\"id\": 2, \"key\": \"more of a\"}]"),
        ("/users/b-1/keys", "[{\"id\": 3, \"key\": \"of b\"}]"),
        ("/users/c/keys", "[]"),
        ("/mine?token=hush", "[{\"key\": \"of mine\"}]"),
    ]);
    let machine = Machine::new();
    let imports = format!(
        "    coreos-ssh-import-github: a\n    coreos-ssh-import-github-users: [b-1, c]\n    \
         coreos-ssh-import-url: {}\n",
        server.url("/mine?token=hush")
    );
    run(&machine, &server, &imports)
        .expect(0, &["Importing 2 ssh keys as \"github-a\" of user 'elroy'", "Wrote file /etc/later"])
        .never_contains("hush");
    let request = ["/users/a/keys", "/users/b-1/keys", "/users/c/keys", "/mine?token=hush"];
    assert_eq!(server.request_lines(), request.map(|path| format!("GET {path} HTTP/1.1")));
    for (name, content) in [
        ("coreos-cloudinit", "own\n"),
        ("coreos-cloudinit-elroy", "of mine\n"),
        ("github-a", "of a\nmore of a\n"),
        ("github-b-1", "of b\n"),
    ] {
        assert_eq!(machine.read(&format!("/home/elroy/.ssh/authorized_keys.d/{name}")), content, "{name}");
    }
    assert_eq!(machine.mode("/home/elroy/.ssh/authorized_keys.d/github-a"), 0o600);
    assert_eq!(keys(&machine).lines().filter(|line| !line.is_empty()).count(), 5);
    run(&machine, &server, &imports).expect(0, &["Nothing changed"]);
}

/// An empty list means that the keys were removed; no response means nothing.
#[test]
fn empty_response_removes_keys() {
    let responses = |response: &'static str| {
        Server::with_handler(
            move |_| if response.is_empty() { Response::not_found() } else { Response::ok(response) },
        )
    };
    let machine = Machine::new();
    let imports = "    coreos_ssh_import_github: a";
    for (response, expect) in
        [("[{\"key\": \"of a\"}]", "own\nof a\n"), ("", "own\nof a\n"), ("[]", "own\n"), ("", "own\n")]
    {
        run(&machine, &responses(response), imports).expect(0, &[]);
        assert_eq!(keys(&machine).replace("\n\n", "\n"), expect, "{response}");
    }
}

#[test]
fn failed_imports_are_reported_and_the_rest_is_applied() {
    let busy = Response::status("503 Service Unavailable", "");
    let good = Response::ok("[{\"key\": \"of b\"}]");
    let cases = [
        (Response::not_found(), "is not there: HTTP status 404"),
        (
            Response::ok("<html>hello</html>"),
            "the response is not a JSON list of objects with a key (line 1, column 1)",
        ),
        (Response::ok("[{\"key\": \"a\\nb\"}]"), "the response has a key with a line break"),
        (Response::Close, "Unable to fetch data: io: Peer disconnected"),
        (busy, "Unable to fetch data: HTTP status 503"),
        (Response::Silent, "Unable to fetch data within 60s"),
        (Response::OneBytePerSecond, "Unable to fetch data within 60s"),
        (Response::Endless, "has more than 1048576 bytes"),
        (Response::redirect("/users/a/keys"), "it is redirected too often"),
    ];
    std::thread::scope(|scope| {
        for (response, expected) in cases {
            let good = good.clone();
            scope.spawn(move || missed(response, good, expected));
        }
    });
}

fn missed(response: Response, good: Response, expected: &str) {
    let server = Server::with_handler(move |request| match &*request.path {
        "/users/b/keys" => good.clone(),
        _ => response.clone(),
    });
    let machine = Machine::new();
    let start = Instant::now();
    run(&machine, &server, "    coreos_ssh_import_github_users: [a, b]").expect(
        0,
        &[expected, "Failed to import ssh keys as \"github-a\" of user 'elroy'", "Wrote file /etc/later"],
    );
    assert!(start.elapsed() < NO_WAIT_LIMIT, "{expected}: {:?}", start.elapsed());
    assert_eq!(keys(&machine), "own\nof b\n", "{expected}");
    assert_eq!(machine.read("/etc/hostname"), "later\n");
    let status = machine.start(&["-status"], &[], b"");
    status.expect(0, &["\"failed\":[],", "\"missed\":[{\"step\":\"import ssh keys as \\\"github-a\\\""]);
}

#[test]
fn redirects_are_followed_and_transient_errors_retried() {
    let tries = std::sync::Mutex::new(0);
    let server = Server::with_handler(move |request| match &*request.path {
        "/users/a/keys" => Response::redirect("/user/1/keys"),
        _ => {
            let mut tries = tries.lock().unwrap();
            *tries += 1;
            if *tries < 3 {
                Response::status("503 Service Unavailable", "")
            } else {
                Response::ok("[{\"key\": \"k\"}]")
            }
        }
    });
    let machine = Machine::new();
    run(&machine, &server, "    coreos_ssh_import_github: a").expect(0, &["Sleeping for 200ms"]);
    assert_eq!(keys(&machine), "own\nk\n");
}

/// Silent servers share one time limit.
#[test]
fn all_imports_share_one_limit() {
    let server = Server::with_handler(|_| Response::Silent);
    let names: Vec<_> = (0..50).map(|number| format!("u{number}")).collect();
    let start = Instant::now();
    let imports = format!("    coreos_ssh_import_github_users: [{}]", names.join(", "));
    run(&Machine::new(), &server, &imports).expect(0, &["github-u49", "Unable to fetch data within 120s"]);
    assert!(start.elapsed() < NO_WAIT_LIMIT, "{:?}", start.elapsed());
    assert!(!server.request_lines().iter().any(|line| line.contains("u49")), "{:?}", server.request_lines());
}

#[test]
fn failed_import_is_not_stamped() {
    let server = Server::start(vec![
        crate::support::server::response("404 Not Found", ""),
        crate::support::server::response("200 OK", "[{\"key\": \"k\"}]"),
    ]);
    let machine = Machine::new();
    let text = user_data("    coreos_ssh_import_github: a");
    let file = machine.folder().join("text");
    std::fs::write(&file, text).unwrap();
    let from = format!("-from-file={}", file.display());
    let environment = [("COREOS_CLOUDINIT_TEST_GITHUB", &*server.url(""))];
    for _ in 0..3 {
        machine.start(&[&from, "-once"], &environment, b"").expect(0, &[]);
    }
    assert_eq!(server.request_lines().len(), 2);
    assert_eq!(keys(&machine), "own\nk\n");
}

#[test]
fn names_and_urls_are_validated_before_any_request() {
    let server = Server::pages(&[]);
    let machine = Machine::new();
    let url = server.url("/hush");
    let imports = format!(
        "    coreos_ssh_import_github: ../a\n    coreos_ssh_import_github_users: [b]\n    \
         coreos_ssh_import_url: {url}\n"
    );
    let text = user_data(&imports);
    let bad = "coreos_ssh_import_github \"../a\" is no name of a GitHub user";
    machine.run(&text, &["-validate"]).expect(
        1,
        &[
            &format!("line 6: error: {bad}"),
            "line 8: warning: keys that come over http can be changed on the way",
        ],
    );
    let plan = machine.run(&text, &["-plan"]);
    plan.expect(
        1,
        &["{\"op\":\"import-ssh-keys\",\"user\":\"elroy\",\"name\":\"github-b\",\"github\":\"b\","],
    );
    plan.expect(
        1,
        &["{\"op\":\"import-ssh-keys\",\"user\":\"elroy\",\"name\":\"coreos-cloudinit-elroy\",\"why\":"],
    );
    plan.never_contains("hush");
    assert_eq!(server.request_lines(), [""; 0]);
    let text = user_data("    coreos_ssh_import_url: ftp://u:hush@h/");
    machine
        .run(&text, &[])
        .expect(1, &["coreos_ssh_import_url is no http or https URL", "Wrote file /etc/later"])
        .never_contains("hush");
}
