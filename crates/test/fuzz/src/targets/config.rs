//! Flags, `ETCD_*`, `-config-file`, and responses of members and the discovery service to a starting member.

use std::collections::BTreeMap;

use crate::target::Target;
use etcd_config::bootstrap::PeerResponse;
use etcd_config::discovery::{Discovery, DiscoveryUrl, Event, HttpResponse, Registration};
use etcd_config::ids::Id;
use etcd_config::initial_cluster::InitialCluster;
use etcd_config::url::{Scheme, Url};
use etcd_config::{Facts, Task, read, required_files};

pub const TARGET: Target = Target {
    name: "config",
    about: "what a program is told becomes a configuration or an error with its exit code, and twice the same",
    run,
    seeds,
};

const PART: &str = "\n---\n";

/// Parts separated by lines of `---`: arguments, one per line; variables; the file; then responses.
fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split(PART);
    let mut next = || parts.next().unwrap_or_default();
    let arguments = next().lines().map(str::to_owned).collect();
    let variables = next().lines().filter_map(|line| line.split_once('='));
    let mut facts = Facts {
        arguments,
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        hostname: "host".to_owned(),
        default_route_address: Some([10, 0, 0, 1].into()),
        interface_addresses: [[127, 0, 0, 1].into(), [10, 0, 0, 1].into()].into(),
        files: BTreeMap::new(),
    };
    let file = next().to_owned();
    // A file may name another one.
    for _ in 0..2 {
        facts.files.extend(required_files(&facts).into_iter().map(|path| (path, Ok(file.clone()))));
    }
    let outcome = read(&facts);
    match &outcome {
        Ok(Task::Run { config, .. }) => drop(serde_json::to_string(config).expect("it can be shown")),
        Ok(_) => {}
        Err(refusal) => assert!(matches!(refusal.exit, 1 | 2) && !refusal.text.is_empty()),
    }
    assert_eq!(outcome, read(&facts));
    answers(&mut parts);
}

fn answers<'a>(parts: &mut impl Iterator<Item = &'a str>) {
    let Some(cluster) = parts.next() else { return };
    if let Ok(parsed) = InitialCluster::parse(cluster) {
        drop((parsed.check_unique(), parsed.bootstrap("a", "token"), parsed.urls()));
    }
    let Some(url) = parts.next().and_then(DiscoveryUrl::parse) else { return };
    let own_url = Url::new(Scheme::Http, "10.0.0.1", 2380);
    let own = Registration { id: Id(7), name: "a".to_owned(), peer_urls: vec![own_url] };
    let mut machine = Discovery::new(url, Some(own));
    machine.start();
    for (number, answer) in parts.take(50).enumerate() {
        let (status, body) = answer.split_once('\n').unwrap_or((answer, ""));
        let status = status.parse().unwrap_or(200);
        drop(PeerResponse::read(status, Some("7e27652122e8b2ae"), body.as_bytes()));
        let index = Some(number as u64);
        machine.step(Event::Response(HttpResponse { status, index, body: body.into() }));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let put = r#"{"action":"create","node":{"key":"/_etcd/registry/t/7","value":"a=http://10.0.0.1:2380","modifiedIndex":9,"createdIndex":9}}"#;
    let size = r#"{"action":"get","node":{"key":"/_etcd/registry/t/_config/size","value":"1","modifiedIndex":8,"createdIndex":8}}"#;
    let list = format!(
        r#"{{"action":"get","node":{{"key":"/_etcd/registry/t","dir":true,"nodes":[{}]}}}}"#,
        &put[26..put.len() - 1]
    );
    let members = r#"{"members":[{"id":"7","name":"a","peerURLs":["http://10.0.0.1:2380"],"clientURLs":["http://10.0.0.1:2379"]}]}"#;
    let cluster = "a=http://10.0.0.1:2380,b=https://[::1]:2380,a=http://10.0.0.1:7001";
    let answers = [
        "200\n".to_owned() + size,
        "404\n{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/\",\"index\":8}".to_owned(),
        "201\n".to_owned() + put,
        "200\n".to_owned() + &list,
        "200\n".to_owned() + members,
        "503\n".to_owned(),
    ];
    let flags = [
        "-name\na\n--data-dir=/d\n-listen-client-urls=http://0.0.0.0:2379,http://[::]:4001\n-advertise-client-urls\nhttp://10.0.0.1:2379",
        "-peers\n10.0.0.2:7001,10.0.0.3:7001\n-addr=10.0.0.1:4001\n-peer-addr\n10.0.0.1:7001\n-snapshot=false",
        "-discovery\nhttp://user:secret@d/_etcd/registry/t\n-dry-run",
        "-config-file=/c",
        "-peers-file=/c\n-proxy=on\n-cors=*",
        "-discovery-srv=example.org\n-initial-cluster-state=existing\n-force-new-cluster",
        "-version",
        "-completion=bash",
        "-h",
    ];
    let variables =
        "ETCD_NAME=b\nETCD_SNAPSHOTCOUNT=7\nETCD_HEARTBEAT_INTERVAL=50\nETCD_NODE_MODE=true\nETCD_UNKNOWN=1";
    let file = "name: c\ndata-dir: /e\nclient-transport-security:\n  cert-file: /f\nlog-outputs: [stderr]\nsnapshot-count: 5";
    let whole = |flags: &str| {
        let more = [flags, variables, file, cluster, "https://discovery.example/t"].map(str::to_owned);
        more.into_iter().chain(answers.iter().cloned()).collect::<Vec<_>>().join(PART).into_bytes()
    };
    flags.into_iter().flat_map(|flags| [flags.as_bytes().to_vec(), whole(flags)]).collect()
}
