//! Tests of the protocol as recorded, and of the state machine against a simulated service that loses responses.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::ids::Id;

fn machine(own: Option<u64>) -> Discovery {
    let url = DiscoveryUrl::parse("http://d:1/T").unwrap();
    Discovery::new(url, own.map(registration))
}

fn registration(id: u64) -> Registration {
    Registration {
        id: Id(id),
        name: format!("n{id}"),
        peer_urls: crate::url::parse_list(&format!("http://10.0.0.{id}:2380")).unwrap(),
    }
}

fn response(status: u16, index: u64, body: serde_json::Value) -> Event {
    Event::Response(HttpResponse { status, index: Some(index), body: body.to_string().into_bytes() })
}

fn size(text: &str) -> Event {
    response(200, 9, json!({"action": "get", "node": {"key": "/T/_config/size", "value": text}}))
}

fn node(id: u64, at: u64) -> serde_json::Value {
    json!({"key": format!("/_etcd/registry/T/{id:x}"), "value": format!("n{id}=http://10.0.0.{id}:2380"),
           "createdIndex": at, "modifiedIndex": at})
}

fn list(index: u64, ids: &[(u64, u64)]) -> Event {
    let nodes: Vec<_> = ids.iter().map(|(id, at)| node(*id, *at)).collect();
    response(
        200,
        index,
        json!({"action": "get", "node": {"key": "/_etcd/registry/T", "dir": true, "nodes": nodes}}),
    )
}

fn error(status: u16, code: u32) -> Event {
    response(status, 9, json!({"errorCode": code, "message": "M", "cause": "/c", "index": 9}))
}

fn created(id: u64, at: u64) -> Event {
    response(201, at, json!({"action": "create", "node": node(id, at)}))
}

/// One line per command.
fn format_commands(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .map(|command| match command {
            Command::Send(request) => {
                let value = request.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default();
                format!("{:?} {}{value}", request.method, request.path).to_lowercase()
            }
            Command::Wait(wait) => format!("wait {}", wait.as_secs()),
            Command::Log(text) => format!("log {text}"),
            Command::Done(cluster) => format!("done {cluster}"),
            Command::Full(cluster) => format!("full {cluster}"),
            Command::Failed(error) => format!("failed {error}"),
        })
        .collect()
}

fn check(own: Option<u64>, events: Vec<Event>, expected: &[&str]) {
    let mut machine = machine(own);
    let mut last = format_commands(&machine.start());
    assert_eq!(last, ["get /t/_config/size"]);
    for event in events {
        last = format_commands(&machine.step(event));
    }
    assert_eq!(last, expected);
}

#[test]
fn the_first_of_three_waits_and_the_cluster_is_the_first_three() {
    let mut machine = machine(Some(1));
    machine.start();
    let mut say = |event| format_commands(&machine.step(event));
    assert_eq!(say(size("3")), ["get /t"]);
    assert_eq!(say(list(9, &[])), ["put /t/1?prevexist=false n1=http://10.0.0.1:2380"]);
    assert_eq!(say(created(1, 10)), ["get /t/1?wait=true&waitindex=10"]);
    assert_eq!(say(created(1, 10)), ["get /t/_config/size"]);
    assert_eq!(say(size("3")), ["get /t"]);
    assert_eq!(
        say(list(12, &[(2, 11), (1, 10)])),
        [
            "log found self 1 in the cluster",
            "log found peer 2 in the cluster",
            "log found 2 peer(s), waiting for 1 more",
            "get /t?recursive=true&wait=true&waitindex=13",
        ]
    );
    assert_eq!(
        say(created(3, 20)),
        [
            "log found peer 3 in the cluster",
            "log found 3 needed peer(s)",
            "done n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380",
        ]
    );
    assert!(say(created(3, 20)).is_empty(), "it has ended");
}

#[test]
fn failures_have_the_recorded_messages() {
    check(Some(1), vec![error(404, 100)], &["failed discovery: size key not found"]);
    check(Some(1), vec![size("three")], &["failed discovery: size key is bad"]);
    check(Some(1), vec![size("0")], &["failed discovery: size key is bad"]);
    let page = HttpResponse { status: 200, index: None, body: b"<html>".to_vec() };
    check(Some(1), vec![Event::Response(page)], &["failed discovery: bad discovery endpoint"]);
    check(Some(1), vec![error(401, 110)], &["failed 110: M (/c) [9]"]);
    check(Some(1), vec![size("1"), list(9, &[(2, 4)])], &["full n2=http://10.0.0.2:2380"]);
    check(Some(1), vec![size("3"), list(9, &[]), error(412, 105)], &["failed discovery: found duplicate id"]);
}

#[test]
fn a_late_registration_finds_the_cluster_full() {
    let events = vec![
        size("1"),
        list(9, &[]),
        created(1, 11),
        created(1, 11),
        size("1"),
        list(11, &[(2, 10), (1, 11)]),
    ];
    check(Some(1), events, &["full n2=http://10.0.0.2:2380"]);
}

#[test]
fn duplicate_names_and_invalid_values_are_rejected() {
    let two = |value: &str| {
        let mut other = node(2, 11);
        other["value"] = json!(value);
        let nodes = [node(1, 10), other];
        response(200, 11, json!({"action": "get", "node": {"key": "/T", "nodes": nodes}}))
    };
    let upto = |last| vec![size("2"), list(9, &[]), created(1, 10), created(1, 10), size("2"), last];
    let tail = |text: &'static str| {
        [
            "log found self 1 in the cluster",
            "log found peer 2 in the cluster",
            "log found 2 needed peer(s)",
            text,
        ]
    };
    check(Some(1), upto(two("n1=http://x:1")), &tail("failed discovery: found duplicate name"));
    check(Some(1), upto(two("rubbish")), &tail("failed discovery: invalid URL"));
}

#[test]
fn a_proxy_reads_and_never_registers() {
    check(None, vec![size("1"), list(9, &[(2, 4)])], &["done n2=http://10.0.0.2:2380"]);
    check(
        None,
        vec![size("2"), list(9, &[(2, 4)])],
        &[
            "log found peer 2 in the cluster",
            "log found 1 peer(s), waiting for 1 more",
            "get /t?recursive=true&wait=true&waitindex=10",
        ],
    );
}

#[test]
fn connection_errors_are_retried_with_backoff() {
    let mut machine = machine(Some(1));
    machine.start();
    let handle_error = || Event::Failed(Failure::Connection("connection refused".to_owned()));
    let waits: Vec<_> = (0..9)
        .map(|_| {
            let wait = format_commands(&machine.step(handle_error()))[1].clone();
            assert!(machine.step(handle_error()).is_empty(), "nothing is out while it waits");
            assert_eq!(format_commands(&machine.step(Event::TimerExpired)), ["get /t/_config/size"]);
            wait
        })
        .collect();
    let expected = ["2", "4", "8", "16", "32", "64", "128", "256", "256"].map(|s| format!("wait {s}"));
    assert_eq!(waits, expected);
}

#[test]
fn repeated_size_timeouts_fail() {
    let out = || Event::Failed(Failure::TimedOut);
    check(
        Some(1),
        vec![out(), Event::TimerExpired, out(), Event::TimerExpired, out()],
        &["failed cluster size check: no response: timed out"],
    );
}

#[test]
fn a_closed_or_outdated_watch_lists_again() {
    let upto = |last| vec![size("2"), list(9, &[(2, 4)]), last];
    check(None, upto(error(400, 401)), &["get /t/_config/size"]);
    let empty = Event::Response(HttpResponse { status: 200, index: None, body: Vec::new() });
    check(None, upto(empty), &["get /t?recursive=true&wait=true&waitindex=10"]);
}

#[test]
fn failure_lines_have_hints() {
    let lines = |error| {
        failure_lines(&error, "core-01", "http://u:secret@d/T", std::path::Path::new("/d")).join("\n")
    };
    let text = lines(DiscoveryError::DuplicateId);
    assert!(
        text.starts_with(
            "member \"core-01\" has previously registered with discovery service token (http://***@d/T)."
        ),
        "{text}"
    );
    assert!(lines(DiscoveryError::DuplicateName).starts_with(
        "member with duplicated name has registered with discovery service token(http://***@d/T)."
    ));
    let full = lines(DiscoveryError::Full);
    assert!(full.starts_with("failed to join discovery cluster (discovery: cluster is full)\n"), "{full}");
}

/// A token of the simulated service.
#[derive(Default)]
struct Token {
    index: u64,
    members: BTreeMap<String, (u64, String)>,
    events: Vec<(u64, String, String)>,
}

impl Token {
    /// `None` for a watch without an event.
    fn serve(&mut self, request: &Request, size: usize) -> Option<Event> {
        let whole = |token: &Self, key: &str, at: u64, value: &str| {
            let node = json!({"key": format!("/r/T/{key}"), "value": value, "createdIndex": at, "modifiedIndex": at});
            response(200, token.index, json!({"action": "create", "node": node}))
        };
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path.ends_with("/size") {
            return Some(response(
                200,
                self.index,
                json!({"action": "get", "node": {"value": size.to_string()}}),
            ));
        }
        let key = path.strip_prefix("/T").unwrap().trim_start_matches('/').to_owned();
        if request.method == Method::Put {
            if self.members.contains_key(&key) {
                return Some(error(412, 105));
            }
            self.index += 1;
            let value = request.value.clone().unwrap();
            self.members.insert(key.clone(), (self.index, value.clone()));
            self.events.push((self.index, key.clone(), value.clone()));
            return Some(whole(self, &key, self.index, &value));
        }
        if let Some((_, from)) = query.split_once("waitIndex=") {
            let from: u64 = from.parse().unwrap();
            let hit = self.events.iter().find(|(at, of, _)| *at >= from && (key.is_empty() || *of == key))?;
            return Some(whole(self, &hit.1, hit.0, &hit.2));
        }
        let nodes: Vec<_> = self
            .members
            .iter()
            .map(|(key, (at, value))| json!({"key": format!("/r/T/{key}"), "value": value, "createdIndex": at}))
            .collect();
        Some(response(200, self.index, json!({"action": "get", "node": {"key": "/r/T", "nodes": nodes}})))
    }
}

/// With many members in any order, and responses that are lost before or after the request took effect, all members
/// find the same cluster of the right size, or are told that it is full.
#[test]
fn lost_responses_never_split_the_cluster() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let size = random.usize(1..=5);
        let mut token = Token::default();
        let ids = 1..=u64::try_from(size).unwrap() + 1;
        let mut machines: Vec<_> = ids.map(|id| machine(Some(id))).collect();
        let mut open: Vec<Vec<Command>> = machines.iter_mut().map(Discovery::start).collect();
        let mut ends = vec![None; machines.len()];
        for _ in 0..20_000 {
            let at = random.usize(0..machines.len());
            let asked =
                open[at].iter().find(|command| matches!(command, Command::Send(_) | Command::Wait(_)));
            let event = match asked {
                Some(Command::Wait(_)) => Event::TimerExpired,
                Some(Command::Send(request)) => {
                    // Registration fails after a number of consecutive failures, which is tested above.
                    let may_lose = request.method == Method::Get || open[at].len() == 1 && seed % 2 == 0;
                    let lose = may_lose && random.u32(0..8) == 0;
                    let connection = Event::Failed(Failure::Connection("lost".to_owned()));
                    match (lose, random.bool()) {
                        (true, true) => connection,
                        (true, false) => {
                            token.serve(request, size);
                            connection
                        }
                        (false, _) => match token.serve(request, size) {
                            Some(event) => event,
                            None => continue,
                        },
                    }
                }
                _ => continue,
            };
            open[at] = machines[at].step(event);
            if let Some(finish @ (Command::Done(_) | Command::Full(_) | Command::Failed(_))) = open[at].last()
            {
                ends[at] = Some(finish.clone());
            }
        }
        let done: Vec<_> = ends
            .iter()
            .filter_map(|finish| match finish {
                Some(Command::Done(cluster)) => Some(cluster.clone()),
                _ => None,
            })
            .collect();
        let unlucky = ends.iter().filter(|finish| matches!(finish, Some(Command::Failed(_)))).count();
        assert!(ends.iter().all(Option::is_some), "seed {seed}: {ends:?}");
        assert!(done.windows(2).all(|two| two[0] == two[1]), "seed {seed}: {done:?}");
        assert!(done.len() + unlucky >= size, "seed {seed}: {ends:?}");
        assert!(done.iter().all(|cluster| cluster.split(',').count() == size), "seed {seed}");
    }
}
