//! ssh keys that users have elsewhere: fetched, kept apart by source, and never in the way of the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what it did not expect")]

mod support;

use std::time::{Duration, Instant};

use support::server::{Answer, Server};
use support::{Done, Machine};

/// What a run may take that has nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(60);

fn user_data(imports: &str) -> String {
    format!(
        "#cloud-config\nhostname: later\nusers:\n  - name: elroy\n    ssh_authorized_keys: [own]\n{imports}\n\
         write_files: [{{path: /etc/later, content: x}}]\n"
    )
}

/// With `server` in place of GitHub, in haste.
fn run(machine: &Machine, server: &Server, imports: &str) -> Done {
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
fn keys_are_fetched_in_order_and_kept_apart() {
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
        .never_says("hush");
    let asked = ["/users/a/keys", "/users/b-1/keys", "/users/c/keys", "/mine?token=hush"];
    assert_eq!(server.asked(), asked.map(|path| format!("GET {path} HTTP/1.1")));
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

/// Whoever takes a key away there wants it gone here; whoever does not answer says nothing.
#[test]
fn an_answer_without_keys_takes_them_away() {
    let answers = |answer: &'static str| {
        Server::answering(move |_| if answer.is_empty() { Answer::not_found() } else { Answer::ok(answer) })
    };
    let machine = Machine::new();
    let imports = "    coreos_ssh_import_github: a";
    for (answer, expect) in
        [("[{\"key\": \"of a\"}]", "own\nof a\n"), ("", "own\nof a\n"), ("[]", "own\n"), ("", "own\n")]
    {
        run(&machine, &answers(answer), imports).expect(0, &[]);
        assert_eq!(keys(&machine).replace("\n\n", "\n"), expect, "{answer}");
    }
}

#[test]
fn what_cannot_be_had_is_said_and_the_rest_is_done() {
    let busy = Answer::status("503 Service Unavailable", "");
    let good = Answer::ok("[{\"key\": \"of b\"}]");
    let cases = [
        (Answer::not_found(), "is not there: HTTP status 404"),
        (
            Answer::ok("<html>hello</html>"),
            "the answer is no JSON list of objects with a key (line 1, column 1)",
        ),
        (Answer::ok("[{\"key\": \"a\\nb\"}]"), "the answer has a key with a line break"),
        (Answer::Close, "Unable to fetch data: io: Peer disconnected"),
        (busy, "Unable to fetch data: HTTP status 503"),
        (Answer::Silence, "Unable to fetch data within 60s"),
        (Answer::OneByteASecond, "Unable to fetch data within 60s"),
        (Answer::Endless, "has more than 1048576 bytes"),
        (Answer::redirect("/users/a/keys"), "it is redirected too often"),
    ];
    std::thread::scope(|scope| {
        for (answer, said) in cases {
            let good = good.clone();
            scope.spawn(move || missed(answer, good, said));
        }
    });
}

fn missed(answer: Answer, good: Answer, said: &str) {
    let server = Server::answering(move |asked| match &*asked.path {
        "/users/b/keys" => good.clone(),
        _ => answer.clone(),
    });
    let machine = Machine::new();
    let start = Instant::now();
    run(&machine, &server, "    coreos_ssh_import_github_users: [a, b]").expect(
        0,
        &[said, "Failed to import ssh keys as \"github-a\" of user 'elroy'", "Wrote file /etc/later"],
    );
    assert!(start.elapsed() < AT_ONCE, "{said}: {:?}", start.elapsed());
    assert_eq!(keys(&machine), "own\nof b\n", "{said}");
    assert_eq!(machine.read("/etc/hostname"), "later\n");
    let status = machine.start(&["-status"], &[], b"");
    status.expect(0, &["\"failed\":[],", "\"missed\":[{\"step\":\"import ssh keys as \\\"github-a\\\""]);
}

#[test]
fn redirects_are_followed_and_what_is_busy_is_asked_again() {
    let tries = std::sync::Mutex::new(0);
    let server = Server::answering(move |asked| match &*asked.path {
        "/users/a/keys" => Answer::redirect("/user/1/keys"),
        _ => {
            let mut tries = tries.lock().unwrap();
            *tries += 1;
            if *tries < 3 {
                Answer::status("503 Service Unavailable", "")
            } else {
                Answer::ok("[{\"key\": \"k\"}]")
            }
        }
    });
    let machine = Machine::new();
    run(&machine, &server, "    coreos_ssh_import_github: a").expect(0, &["Sleeping for 200ms"]);
    assert_eq!(keys(&machine), "own\nk\n");
}

/// Many that do not answer do not take the time of as many.
#[test]
fn all_imports_share_one_limit() {
    let server = Server::answering(|_| Answer::Silence);
    let names: Vec<_> = (0..50).map(|number| format!("u{number}")).collect();
    let start = Instant::now();
    let imports = format!("    coreos_ssh_import_github_users: [{}]", names.join(", "));
    run(&Machine::new(), &server, &imports).expect(0, &["github-u49", "Unable to fetch data within 120s"]);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert!(!server.asked().iter().any(|line| line.contains("u49")), "{:?}", server.asked());
}

#[test]
fn what_failed_is_not_stamped_as_done() {
    let server = Server::start(vec![
        support::server::answer("404 Not Found", ""),
        support::server::answer("200 OK", "[{\"key\": \"k\"}]"),
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
    assert_eq!(server.asked().len(), 2);
    assert_eq!(keys(&machine), "own\nk\n");
}

#[test]
fn names_and_urls_are_checked_and_nobody_is_asked_before_it_is_time() {
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
    plan.never_says("hush");
    assert_eq!(server.asked(), [""; 0]);
    let text = user_data("    coreos_ssh_import_url: ftp://u:hush@h/");
    machine
        .run(&text, &[])
        .expect(1, &["coreos_ssh_import_url is no http or https URL", "Wrote file /etc/later"])
        .never_says("hush");
}
