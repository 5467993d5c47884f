//! Status and journal of this machine, with programs that print their arguments.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_api::Query;
use fleet_core::JobState;

use crate::clients::client;
use crate::cluster::{Cluster, ME, SLEEP};
use crate::server::{Server, TIMEOUT, error};

fn write_program(server: &Server, name: &str, script: &str) {
    let path = server.folder.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Prints its arguments. With `-f`, writes its process id to the file `following` and continues until it is killed.
const JOURNALCTL: &str = r#"echo "$@"
for last; do :; done
if [ "$last" = -f ]; then echo $$ > "$(dirname "$0")/following"; exec sleep 1000; fi"#;

pub fn with_programs() -> Server {
    let server = Server::start(Cluster::with_units());
    server.cluster.store().create("-H.service", SLEEP, JobState::Launched);
    write_program(&server, "systemctl", "echo \"$@\"\necho oops >&2\nexit 3");
    write_program(&server, "journalctl", JOURNALCTL);
    server
}

#[tokio::test]
async fn statuses() {
    let server = with_programs();
    let client = client(&server);
    for (name, machine) in
        [("hello.service", ""), ("hello.service", ME), ("glob.service", ""), ("glob.service", ME)]
    {
        let report = client.status(name, machine).await.unwrap();
        let [status] = &report.statuses[..] else { panic!("{report:?}") };
        assert_eq!((status.exit_code, status.machine_id.as_str()), (3, ME));
        assert_eq!(status.output, format!("status -l -- {name}\noops\n"));
    }
}

#[test]
fn journals() {
    let server = with_programs();
    let check = |query: &str, expect: &str| {
        let response = server.get(&format!("/keelson/v1/units/hello.service/journal{query}"));
        assert_eq!(response.line(), expect, "{query}");
        if response.code == 200 {
            assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    };
    check("", "200 --unit hello.service --no-pager -n 10");
    check("?alt=json&lines=20", "200 --unit hello.service --no-pager -n 20");
    check(
        "?lines=0&output=short-iso&follow=false",
        "200 --unit hello.service --no-pager -n 0 --output short-iso",
    );
    check(&format!("?machineID={ME}"), "200 --unit hello.service --no-pager -n 10");
    check("?lines=all", &error(400, "invalid value \"all\" for lines: use a whole number"));
    check("?lines=-1", &error(400, "invalid value \"-1\" for lines: use a whole number"));
    check("?follow=yes", &error(400, "invalid value \"yes\" for follow: use `true` or `false`"));
    for bad in ["--file=/etc/shadow", "-x", "a b", "A"] {
        let text = format!("invalid value {bad:?} for output: use a mode of journalctl's --output");
        check(&format!("?output={}", bad.replace(' ', "%20")), &error(400, &text));
    }
    check("?machineID=other", &error(404, ""));
}

/// A name may look like an option.
#[test]
fn names_are_not_options() {
    let server = with_programs();
    let get = |what: &str| server.get(&format!("/keelson/v1/units/-H.service/{what}")).line();
    assert!(get("status").contains(r#""output":"status -l -- -H.service\noops\n""#), "{}", get("status"));
    assert_eq!(get("journal"), "200 --unit -H.service --no-pager -n 10");
}

#[test]
fn programs_that_fail() {
    let server = Server::start(Cluster::with_units());
    for what in ["status", "journal"] {
        assert_eq!(server.get(&format!("/keelson/v1/units/hello.service/{what}")).line(), error(500, ""));
    }
    write_program(&server, "systemctl", "kill -9 $$");
    let response = server.get("/keelson/v1/units/hello.service/status");
    assert!(response.body.contains(r#""exitCode":255"#), "{response:?}");
    // Output over the limit is discarded.
    write_program(&server, "systemctl", "exec yes");
    let response = server.get("/keelson/v1/units/hello.service/status");
    assert_eq!(response.code, 200);
    assert!(response.body.len() > 1 << 20 && response.body.len() < 3 << 20, "{}", response.body.len());
}

/// Larger than the buffer of a pipe.
#[test]
fn long_journals_are_complete() {
    let server = with_programs();
    write_program(
        &server,
        "journalctl",
        "i=0; while [ $i -lt 20000 ]; do echo line $i of many, many more lines; i=$((i+1)); done",
    );
    let response = server.get("/keelson/v1/units/hello.service/journal?lines=20000");
    assert_eq!(response.body.lines().count(), 20_000);
    assert!(response.body.ends_with("line 19999 of many, many more lines\n"));
}

fn wait_until_following(folder: &Path) -> u32 {
    let path = folder.join("following");
    wait_for("the journal is followed", || fs::read_to_string(&path).ok()?.trim().parse().ok())
}

fn wait_until_exited(process: u32) {
    let stat = format!("/proc/{process}/stat");
    wait_for("journalctl has ended", || match fs::read_to_string(&stat) {
        Err(_) => Some(()),
        Ok(_) => None,
    });
}

fn wait_for<T>(what: &str, condition: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test]
async fn followed_journal_ends_with_its_client() {
    let server = with_programs();
    let client = client(&server);
    let query = Query::default().with("follow", "true").with("lines", "5");
    let mut body = client.journal("hello.service", &query).await.unwrap();
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(first, "--unit hello.service --no-pager -n 5 -f\n");
    let process = wait_until_following(server.folder.path());
    drop(body);
    tokio::task::spawn_blocking(move || wait_until_exited(process)).await.unwrap();
}

const FOLLOW: &[u8] = b"GET /keelson/v1/units/hello.service/journal?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";

fn follow_by(mut stream: impl std::io::Read + std::io::Write, server: &Server, more: &[u8]) -> u32 {
    stream.write_all(FOLLOW).unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    // The server does not read this before the response ends.
    stream.write_all(more).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    wait_until_following(server.folder.path())
}

/// Over both transports, and while the journal has no new entries.
#[test]
fn followed_journal_ends_with_its_connection() {
    let server = with_programs();
    wait_until_exited(follow_by(server.connect(), &server, b""));
    fs::remove_file(server.folder.path().join("following")).unwrap();
    wait_until_exited(follow_by(std::net::TcpStream::connect(server.address).unwrap(), &server, b""));
    fs::remove_file(server.folder.path().join("following")).unwrap();
    // With a pipelined request.
    wait_until_exited(follow_by(server.connect(), &server, b"GET / HTTP/1.1\r\n\r\n"));
}

#[test]
fn followed_journal_ends_with_the_server() {
    let mut server = with_programs();
    let mut stream: UnixStream = server.connect();
    let process = follow_by(&mut stream, &server, b"");
    server.stop();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    // The process has exited.
    assert!(!Path::new(&format!("/proc/{process}")).exists());
}

#[test]
fn concurrent_programs_are_limited() {
    let server = with_programs();
    let mut followers = Vec::new();
    for _ in 0..32 {
        let mut stream = server.connect();
        stream.write_all(FOLLOW).unwrap();
        stream.read_exact(&mut [0; 15]).unwrap();
        followers.push(stream);
    }
    let get = || server.get("/keelson/v1/units/hello.service/status");
    assert_eq!(get().line(), error(429, "too many statuses and journals at once: try again later"));
    // Other requests are not affected.
    assert_eq!(server.get("/fleet/v1/units").code, 200);
    drop(followers);
    wait_for("a place is free again", || (get().code == 200).then_some(()));
}
