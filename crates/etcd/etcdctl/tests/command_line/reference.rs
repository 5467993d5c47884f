//! Runs the same commands with this `etcdctl` and Debian's, each against a fresh etcd of Debian and of this project.
//!
//! A case that is marked as different must differ: an outdated mark is a failure.

mod server;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::{Program, transcript};
use crate::transcript::{On, read};
use server::{Etcd, Site};

/// Debian's program, and the variable that overrides it.
const REFERENCE: (&str, &str) = ("/usr/bin/etcdctl", "KEELSON_REFERENCE_ETCDCTL");
const TIMEOUT: Duration = Duration::from_secs(30);

/// Both programs, the reference last.
fn programs() -> [(&'static str, Program); 2] {
    let path = std::env::var(REFERENCE.1).unwrap_or_else(|_| REFERENCE.0.to_owned());
    let reference = Program::at(Path::new(&path)).with("ETCDCTL_API", "2");
    [("ours", Program::ours()), ("reference", reference)]
}

/// The program with the first member of a site as its endpoint.
fn with_site(program: Program, site: Site, url: &str) -> Program {
    let program = program.with("ETCDCTL_ENDPOINTS", url);
    // With three members, a read from another one than the write's may be stale.
    if site == Site::Three { program.before("--no-sync") } else { program }
}

fn check(name: &str, ours: Site) {
    let path = format!("{}/tests/cases/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let cases = read(&std::fs::read_to_string(&path).unwrap());
    assert!(cases.len() > 5, "{path} has no cases");
    let mut wrong = Vec::new();
    let compare = [Site::Debian, ours];
    for (site, (who, program)) in compare.into_iter().flat_map(|site| programs().map(|one| (site, one))) {
        let server = Etcd::start(site);
        let facts = server.facts();
        let program = with_site(program, site, &facts.url);
        let on = match (site, who) {
            (Site::Debian, _) => On::Reference,
            (_, "reference") => On::OursByReference,
            _ => On::Ours,
        };
        for case in &cases {
            let differs = case.differs.as_ref().filter(|_| who == "reference");
            match (case.check(&program, &facts, on), differs) {
                (Ok(()), None) | (Err(_), Some(_)) => {}
                (Ok(()), Some(reason)) => {
                    wrong.push(format!(
                        "{who} on {site:?}: $ {}\nis marked as different, and is not: {reason}",
                        case.line
                    ));
                }
                (Err(text), None) => wrong.push(format!("{who} on {site:?}: {text}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn keys() {
    check("keys", Site::Three);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn listings() {
    check("listings", Site::Three);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn formats() {
    check("formats", Site::Three);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn debug() {
    check("debug", Site::Alone);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn members() {
    check("cluster", Site::Alone);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn users_and_roles() {
    check("auth", Site::Three);
}

/// Runs `scene` with both programs on both servers, each time a fresh one, and compares its result with `expect`.
fn compare(ours: Site, scene: impl Fn(&Program, &mut Etcd) -> String, expect: &str) {
    for site in [Site::Debian, ours] {
        for (who, program) in programs() {
            let mut server = Etcd::start(site);
            let program = with_site(program, site, &server.facts().url);
            let got = scene(&program, &mut server);
            assert_eq!(got, expect, "{who} on {site:?}");
        }
    }
}

/// Reads this number of lines, then interrupts. Returns the lines and the exit status.
fn lines_then_interrupt(mut child: Child, lines: usize) -> String {
    let reader = BufReader::new(child.stdout.take().unwrap());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        // The receiver is dropped when it has read enough.
        reader.lines().map_while(Result::ok).all(|line| send.send(line).is_ok());
    });
    let mut text = String::new();
    for _ in 0..lines {
        match receive.recv_timeout(TIMEOUT) {
            Ok(line) => text.push_str(&format!("{line}\n")),
            Err(_) => {
                child.kill().unwrap();
                panic!("waited for {lines} lines, saw: {text}{:?}", child.wait_with_output());
            }
        }
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    text + &transcript(&child.wait_with_output().unwrap())
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn watch_once() {
    let scene = |program: &Program, server: &mut Etcd| {
        let child = program.start(&["watch", "/w"]);
        server.wait_for_watchers(1);
        server.request("PUT", "/v2/keys/w?dir=true", "");
        server.request("DELETE", "/v2/keys/w?dir=true", "");
        server.request("PUT", "/v2/keys/w", "value=Hello");
        transcript(&child.wait_with_output().unwrap())
    };
    compare(Site::Three, scene, "out| Hello\n");
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn watch_forever() {
    let scene = |program: &Program, server: &mut Etcd| {
        let child = program.start(&["watch", "--recursive", "--forever", "/w"]);
        server.wait_for_watchers(1);
        // Before the first event: later events may come from the history, which includes hidden keys.
        server.request("PUT", "/v2/keys/w/_hidden", "value=1");
        server.request("PUT", "/v2/keys/w/a", "value=1");
        server.request("PUT", "/v2/keys/other", "value=1");
        server.request("PUT", "/v2/keys/w/a?prevValue=1", "value=2");
        server.request("PUT", "/v2/keys/w/b", "value=3&ttl=1");
        server.request("DELETE", "/v2/keys/w/a", "");
        lines_then_interrupt(child, 10)
    };
    let expect = "[set] /w/a\n1\n[compareAndSwap] /w/a\n2\n[set] /w/b\n3\n\
                  [delete] /w/a\nPrevNode.Value: 2\n[expire] /w/b\n\n";
    compare(Site::Three, scene, expect);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn exec_watch() {
    let scene = |program: &Program, server: &mut Etcd| {
        let script = "echo \"$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE\"";
        let child = program.start(&["exec-watch", "--recursive", "/w", "--", "sh", "-c", script]);
        server.wait_for_watchers(1);
        server.request("PUT", "/v2/keys/w/a", "value=1");
        lines_then_interrupt(child, 1)
    };
    compare(Site::Three, scene, "set /w/a 1\n");
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn cleared_history() {
    let scene = |program: &Program, server: &mut Etcd| {
        let before = server.facts().index;
        for _ in 0..1001 {
            server.request("PUT", "/v2/keys/x", "value=1");
        }
        let output = program.run(&["watch", "/w", "--after-index", "1"], "");
        output
            .replace(&format!("[{}/2]", before + 2), "[OLDEST/2]")
            .replace(&format!("[{}]", before + 1001), "[LAST]")
    };
    let expect = "err| Error:  401: The event in requested index is outdated and cleared \
                  (the requested history has been cleared [OLDEST/2]) [LAST]\nexit 4\n";
    compare(Site::Three, scene, expect);
}

#[test]
#[ignore = "needs Debian's etcd-server and etcd-client: cargo verify conformance"]
fn a_member_joins_and_leaves() {
    let scene = |program: &Program, server: &mut Etcd| {
        let facts = server.facts();
        let second = server::Addresses::find();
        let added = program.run(&["member", "add", "n2", &second.peer], "");
        let setting = |name: &str| {
            let begin = format!("out| {name}=\"");
            let line = added.lines().find_map(|line| line.strip_prefix(begin.as_str())).expect(&added);
            line.trim_end_matches('"').to_owned()
        };
        let id = added.split("with ID ").nth(1).expect(&added).split(' ').next().unwrap().to_owned();
        let cluster = setting("ETCD_INITIAL_CLUSTER");
        let mut joined = server.join(&setting("ETCD_NAME"), &second, &cluster);
        let mut text = added.replace(&cluster, &sorted(&cluster, ','));
        for arguments in
            [&["member", "list"][..], &["cluster-health"], &["member", "update", &id, &second.peer]]
        {
            text.push_str(&sorted(program.run(arguments, "").trim_end(), '\n'));
            text.push('\n');
        }
        text.push_str(&program.run(&["member", "remove", &id], ""));
        joined.stop();
        for (from, to) in [
            (&facts.id, "ID1"),
            (&facts.peer, "PEER1"),
            (&facts.url, "URL1"),
            (&id, "ID2"),
            (&second.peer, "PEER2"),
            (&second.url, "URL2"),
        ] {
            text = text.replace(from.as_str(), to);
        }
        sorted(text.trim_end(), '\n')
    };
    let expect = "out|\n\
         out| Added member named n2 with ID ID2 to cluster\n\
         out| ETCD_INITIAL_CLUSTER=\"n1=PEER1,n2=PEER2\"\n\
         out| ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n\
         out| ETCD_NAME=\"n2\"\n\
         out| ID1: name=n1 peerURLs=PEER1 clientURLs=URL1 isLeader=true\n\
         out| ID2: name=n2 peerURLs=PEER2 clientURLs=URL2 isLeader=false\n\
         out| Removed member ID2 from cluster\n\
         out| Updated member with ID ID2 in cluster\n\
         out| cluster is healthy\n\
         out| member ID1 is healthy: got healthy result from URL1\n\
         out| member ID2 is healthy: got healthy result from URL2";
    compare(Site::Alone, scene, expect);
}

/// Members are ordered by id, which is arbitrary.
fn sorted(text: &str, separator: char) -> String {
    let mut parts: Vec<&str> = text.split(separator).collect();
    parts.sort_unstable();
    parts.join(&separator.to_string())
}
