//! Tests of each bootstrap method, from the command line to the start.

use serde_json::json;

use super::*;
use crate::data_dir::Contents;
use crate::discovery::{self, HttpResponse};
use crate::{Facts, Task};

fn machine(arguments: &str) -> Bootstrap {
    let arguments = arguments.split_whitespace().map(str::to_owned).collect();
    match crate::read(&Facts { arguments, hostname: "h".to_owned(), ..Facts::default() }) {
        Ok(Task::Run { config, .. }) => Bootstrap::new(&config),
        other => panic!("{other:?}"),
    }
}

fn url(text: &str) -> crate::Url {
    text.parse().unwrap()
}

fn format_commands(commands: &[Command]) -> Vec<String> {
    commands
        .iter()
        .map(|command| match command {
            Command::Start(Start::Bootstrap(cluster)) => {
                let urls = cluster.members.iter().flat_map(|member| member.peer_urls.iter());
                let mut urls: Vec<_> = urls.map(ToString::to_string).collect();
                urls.sort();
                assert!(cluster.members.iter().any(|member| member.id == cluster.own_id));
                format!("found {}", urls.join(","))
            }
            Command::Start(Start::Join { own_id, .. }) => format!("join as {own_id}"),
            Command::Start(Start::Proxy { peers }) => format!("proxy {}", crate::url::join(peers)),
            Command::Start(Start::Restart) => "restart".to_owned(),
            Command::QueryPeers(peers) => format!("ask {}", crate::url::join(peers)),
            Command::Resolve(hosts) => format!("resolve {}", hosts.join(",")),
            Command::Discovery(request) => format!("{:?} {}", request.method, request.path),
            Command::ChangeMembers { through, remove, add } => {
                let remove = remove.map(|id| format!("remove {id} ")).unwrap_or_default();
                format!("through {} {remove}add {}", crate::url::join(through), crate::url::join(add))
            }
            Command::Fail(lines) => format!("fail {}", lines.join(" | ")),
            Command::Log(line) => format!("log {line}"),
            other => format!("{other:?}"),
        })
        .collect()
}

fn check(arguments: &str, events: Vec<Event>, expected: &[&str]) {
    let mut machine = machine(arguments);
    let mut last = format_commands(&machine.start());
    assert_eq!(last, ["ReadDataDir"]);
    for event in events {
        last = format_commands(&machine.step(event));
    }
    assert_eq!(last, expected, "{arguments}");
}

fn empty() -> Event {
    Event::DataDir(Contents::default())
}

fn no_response(peer: &str) -> Event {
    Event::Peer { peer: url(peer), response: PeerResponse::NoResponse }
}

fn running(peer: &str, members: serde_json::Value) -> Event {
    let response = PeerResponse::read(200, Some("7"), members.to_string().as_bytes());
    assert!(matches!(response, PeerResponse::Running(_)));
    Event::Peer { peer: url(peer), response }
}

const STATIC: &str = "-name a -initial-advertise-peer-urls http://10.0.0.1:1 -initial-cluster a=http://10.0.0.1:1,b=http://10.0.0.2:1";

#[test]
fn the_data_directory_takes_precedence() {
    let with = |member, proxy| Event::DataDir(Contents { member, proxy });
    check(
        "-initial-cluster rubbish -proxy on",
        vec![with(true, false)],
        &["log the server is already initialized as member before, starting as etcd member...", "restart"],
    );
    check(STATIC, vec![with(false, true), Event::SavedPeers(vec![url("http://c:1")])], &["proxy http://c:1"]);
    check(
        STATIC,
        vec![with(false, true), Event::SavedPeers(vec![])],
        &["proxy http://10.0.0.1:1,http://10.0.0.2:1"],
    );
    check(
        STATIC,
        vec![with(true, true)],
        &["fail invalid datadir. Both member and proxy directories exist."],
    );
}

#[test]
fn a_static_cluster() {
    check(STATIC, vec![empty()], &["ask http://10.0.0.2:1"]);
    check(
        STATIC,
        vec![empty(), no_response("http://10.0.0.2:1")],
        &["found http://10.0.0.1:1,http://10.0.0.2:1"],
    );
    check("", vec![empty()], &["resolve localhost"]);
    check(
        "",
        vec![empty(), Event::Resolved([].into())],
        &["found http://localhost:2380,http://localhost:7001"],
    );
    check(
        "-proxy on -initial-cluster a=http://10.0.0.1:1",
        vec![empty(), Event::Resolved([].into())],
        &["proxy http://10.0.0.1:1"],
    );
    check(
        "-name n1 -initial-advertise-peer-urls http://10.0.0.1:1 -initial-cluster n1=http://10.0.0.2:1",
        vec![empty()],
        &[
            "fail --initial-cluster must include n1=http://10.0.0.1:1 given --initial-advertise-peer-urls=http://10.0.0.1:1 | forgot to set --initial-cluster flag? | if you want to use discovery service, please set --discovery flag.",
        ],
    );
}

#[test]
fn a_known_member_does_not_bootstrap_again() {
    let id = crate::ids::member(&[url("http://10.0.0.1:1")], "etcd-cluster", None);
    let members =
        json!([{"id": id.0, "peerURLs": ["http://10.0.0.1:1"], "name": "a", "clientURLs": ["http://x:1"]}]);
    check(
        STATIC,
        vec![empty(), running("http://10.0.0.2:1", members)],
        &[&format!(
            "fail member {id} has already been bootstrapped | remove it from the cluster and add it again, or give it its data back."
        )],
    );
}

#[test]
fn joining_an_existing_cluster() {
    let arguments = format!("{STATIC} -initial-cluster-state existing");
    let two = json!([
        {"id": 10, "peerURLs": ["http://10.0.0.1:1"], "name": "", "clientURLs": []},
        {"id": 11, "peerURLs": ["http://10.0.0.2:1"], "name": "b", "clientURLs": ["http://10.0.0.2:2"]}]);
    check(&arguments, vec![empty(), running("http://10.0.0.2:1", two)], &["join as a"]);
    let one = json!([{"id": 11, "peerURLs": ["http://10.0.0.2:1"], "name": "b"}]);
    check(
        &arguments,
        vec![empty(), running("http://10.0.0.2:1", one)],
        &[
            "fail error validating peerURLs http://10.0.0.1:1,http://10.0.0.2:1: member count is unequal: 1 are in the cluster",
        ],
    );
    check(
        &arguments,
        vec![empty(), no_response("http://10.0.0.2:1")],
        &[
            "fail cannot fetch cluster info from peer urls: could not retrieve cluster information from the given urls",
        ],
    );
}

#[test]
fn members_from_srv_records() {
    let record = |target: &str, address: [u8; 4]| SrvRecord {
        target: target.to_owned(),
        port: 2380,
        addresses: vec![address.into()],
    };
    let srv = || Event::Srv {
        tls: Err("no such host".to_owned()),
        plain: Ok(vec![record("a.example.", [10, 0, 0, 1]), record("b.example.", [10, 0, 0, 2])]),
    };
    let base = "-name a -discovery-srv example -initial-advertise-peer-urls";
    let arguments = &format!("{base} http://10.0.0.1:2380");
    check(arguments, vec![empty()], &["LookUpSrv { domain: \"example\" }"]);
    check(
        arguments,
        vec![empty(), srv()],
        &[
            "log got bootstrap from DNS for etcd-server at http://a.example:2380",
            "log got bootstrap from DNS for etcd-server at http://b.example:2380",
            "ask http://b.example:2380",
        ],
    );
    check(
        arguments,
        vec![empty(), srv(), no_response("http://b.example:2380")],
        &["found http://a.example:2380,http://b.example:2380"],
    );
    check(
        &format!("{base} http://core-01:2380"),
        vec![empty(), Event::Resolved([("core-01".to_owned(), [10, 0, 0, 1].into())].into()), srv()],
        &[
            "log got bootstrap from DNS for etcd-server at http://a.example:2380",
            "log got bootstrap from DNS for etcd-server at http://b.example:2380",
            "ask http://b.example:2380",
        ],
    );
    let proxy = format!("-proxy on {base} http://10.0.0.9:2380");
    let mut machine = machine(&proxy);
    machine.start();
    machine.step(empty());
    let last = format_commands(&machine.step(srv()));
    assert_eq!(last.last().unwrap(), "proxy http://a.example:2380,http://b.example:2380");
}

#[test]
fn missing_srv_records_are_an_error() {
    let record = |target: &str| SrvRecord {
        target: target.to_owned(),
        port: 2380,
        addresses: vec![[10, 0, 0, 1].into()],
    };
    let none = || Err("lookup x on 127.0.0.53:53: no such host".to_owned());
    let base = "-name a -discovery-srv example -initial-advertise-peer-urls";
    let one = || Event::Srv { tls: none(), plain: Ok(vec![record("a.example.")]) };
    let check_last = |arguments: &str, event: Event, expected: &str| {
        let mut machine = machine(&format!("{base} {arguments}"));
        machine.start();
        machine.step(empty());
        assert_eq!(format_commands(&machine.step(event)).last().unwrap(), expected);
    };
    check_last(
        "http://10.0.0.9:2380",
        one(),
        "fail error setting up initial cluster: cannot find local etcd member \"a\" in SRV records",
    );
    // The local record, but for TLS, while the port has none.
    check_last(
        "http://10.0.0.1:2380",
        Event::Srv { tls: Ok(vec![record("a.example.")]), plain: none() },
        "fail --initial-cluster must include a=http://10.0.0.1:2380 given --initial-advertise-peer-urls=http://10.0.0.1:2380 | forgot to set --initial-cluster flag? | if you want to use discovery service, please set --discovery flag.",
    );
    check_last(
        "http://10.0.0.1:2380",
        Event::Srv { tls: none(), plain: Err("lookup y: i/o timeout".to_owned()) },
        "fail error querying DNS SRV records for _etcd-server-ssl lookup x on 127.0.0.53:53: no such host | error querying DNS SRV records for _etcd-server lookup y: i/o timeout | SRV discovery failed: too many errors querying DNS SRV records | error setting up initial cluster: lookup y: i/o timeout",
    );
}

fn response(status: u16, body: &serde_json::Value) -> Event {
    let body = body.to_string().into_bytes();
    Event::Discovery(discovery::Event::Response(HttpResponse { status, index: Some(5), body }))
}

#[test]
fn discovery_results() {
    let base = "-name a -initial-advertise-peer-urls http://10.0.0.1:1 -discovery http://d/T";
    let size = || response(200, &json!({"action": "get", "node": {"value": "1"}}));
    let other =
        json!({"action": "get", "node": {"nodes": [{"key": "/T/9", "value": "z=http://10.0.0.9:1"}]}});
    check(base, vec![empty()], &["Get /T/_config/size"]);
    check(
        base,
        vec![empty(), size(), response(200, &other)],
        &["log discovery cluster full, falling back to proxy", "proxy http://10.0.0.9:1"],
    );
    check(
        &format!("{base} -discovery-fallback exit"),
        vec![empty(), size(), response(200, &other)],
        &[
            "fail failed to join discovery cluster (discovery: cluster is full) | discovery token http://d/T was used, but failed to bootstrap the cluster. | Make a new discovery token and try again.",
        ],
    );
    check(
        &format!("{base} -proxy on"),
        vec![empty(), size(), response(200, &other)],
        &["proxy http://10.0.0.9:1"],
    );
    let id = crate::ids::member(&[url("http://10.0.0.1:1")], "http://d/T", None);
    let mine = json!({"key": format!("/T/{id}"), "value": "a=http://10.0.0.1:1", "createdIndex": 5, "modifiedIndex": 5});
    let created = || response(201, &json!({"action": "create", "node": mine}));
    let no_members = response(200, &json!({"action": "get", "node": {}}));
    let all = response(200, &json!({"action": "get", "node": {"nodes": [mine]}}));
    check(
        base,
        vec![empty(), size(), no_members, created(), created(), size(), all],
        &[
            &format!("log found self {id} in the cluster"),
            "log found 1 needed peer(s)",
            "found http://10.0.0.1:1",
        ],
    );
    check(
        &format!("{base} -discovery-proxy ftp://u:secret@p:1"),
        vec![empty()],
        &[
            "fail failed to join discovery cluster (invalid proxy address \"ftp://***@p:1\") | discovery token http://d/T was used, but failed to bootstrap the cluster. | Make a new discovery token and try again.",
        ],
    );
    check(
        "-name a -addr 10.0.0.1:2 -discovery nonsense",
        vec![empty()],
        &[
            "fail failed to join discovery cluster (nonsense is no URL of a token) | discovery token nonsense was used, but failed to bootstrap the cluster. | Make a new discovery token and try again.",
        ],
    );
}

#[test]
fn peers_are_joined_or_bootstrapped_with() {
    let base = "-name a -peer-addr 10.0.0.1:1 -peers 10.0.0.2:1,10.0.0.3:1";
    let proposal = |set: &[&str]| {
        let set: Vec<_> = set.iter().map(|text| format!("http://{text}")).collect();
        let body = json!({"set": set, "token": "etcd-cluster"}).to_string();
        let response = PeerResponse::read(503, None, body.as_bytes());
        assert!(matches!(response, PeerResponse::Waiting(_)));
        Event::Peer { peer: url("http://10.0.0.2:1"), response }
    };
    let same = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"];
    check(base, vec![empty()], &["ask http://10.0.0.2:1,http://10.0.0.3:1"]);
    check(
        base,
        vec![empty(), proposal(&same), no_response("http://10.0.0.3:1")],
        &["log 2 of 3 peers are up and agree, 2 are required; 1 do not respond", "Wait(500ms)"],
    );
    check(
        base,
        vec![empty(), proposal(&["10.0.0.1:1", "10.0.0.2:1"]), no_response("http://10.0.0.3:1")],
        &[
            "log peer http://10.0.0.2:1 wants to found a cluster of other members: http://10.0.0.1:1,http://10.0.0.2:1 there, http://10.0.0.1:1,http://10.0.0.2:1,http://10.0.0.3:1 here",
            "Wait(500ms)",
        ],
    );
    let members = |me: serde_json::Value| {
        running(
            "http://10.0.0.3:1",
            json!([{"id": 11, "peerURLs": ["http://10.0.0.3:1"], "name": "c", "clientURLs": ["http://c:2"]}, me]),
        )
    };
    let other_member = json!({"id": 12, "peerURLs": ["http://10.0.0.4:1"], "name": "d", "clientURLs": []});
    check(base, vec![empty(), members(other_member.clone())], &["through http://c:2 add http://10.0.0.1:1"]);
    let added = json!({"id": 13, "peerURLs": ["http://10.0.0.1:1"], "name": "", "clientURLs": []});
    check(base, vec![empty(), members(added)], &["join as d"]);
    let wiped =
        json!({"id": 13, "peerURLs": ["http://10.0.0.1:1"], "name": "a", "clientURLs": ["http://a:2"]});
    check(base, vec![empty(), members(wiped)], &["through http://c:2 remove d add http://10.0.0.1:1"]);
    check(
        base,
        vec![empty(), members(other_member), Event::Changed(Err("no leader".to_owned()))],
        &["log cannot join the cluster of the given peers yet: no leader", "Wait(500ms)"],
    );
    check("-name a -peer-addr 10.0.0.1:1 -peers 10.0.0.1:1", vec![empty()], &["found http://10.0.0.1:1"]);
    check("-proxy on -peers 10.0.0.1:1", vec![empty()], &["proxy http://10.0.0.1:1"]);
}
