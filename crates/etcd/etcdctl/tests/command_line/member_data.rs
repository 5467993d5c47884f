//! Tests of `backup`, `restore`, `recover` and `import`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use etcd_api::Key;
use etcd_raft::{DataLocation, InitialMember, Member, MemberConfig, MemberData, Start, TcpNetwork};
use etcd_store::{Command, Put};
use serde_json::Value;

use crate::program::Program;

const UNREACHABLE: &str = "http://127.0.0.1:1";

fn put(key: &str, value: &'static str) -> Command {
    Command::Put(Put {
        key: Key::parse(key).unwrap(),
        value: Bytes::from_static(value.as_bytes()),
        dir: false,
        expiration: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    })
}

/// Creates the data of member 1 with two keys, and one more member for each of `others`, which are client URLs.
fn data(root: &Path, others: &[&str]) -> DataLocation {
    let folder = root.join("member");
    std::fs::create_dir_all(&folder).unwrap();
    let mut config = MemberConfig::new(folder.clone(), 0xc, 1, "m1");
    config.peer_urls = vec![UNREACHABLE.to_owned()];
    config.start =
        Start::New(vec![InitialMember { id: 1, name: "m1".into(), peer_urls: vec![UNREACHABLE.into()] }]);
    config.log_segment_bytes = 64 << 10;
    let mut commands = vec![put("/message", "Hello"), put("/_hidden/key", "")];
    for (id, url) in (2..).zip(others) {
        let peer_urls = vec![format!("http://127.0.0.1:1/{id}")];
        let client_urls = vec![(*url).to_owned()];
        commands.push(Command::AddMember(etcd_api::Member {
            id,
            name: format!("m{id}"),
            peer_urls,
            client_urls,
        }));
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let member = Member::start(config, Arc::new(TcpNetwork::new(None))).await.unwrap();
        member.barrier().await.unwrap();
        while member.read(|store| store.membership().members().count()) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        for command in commands {
            member.propose(&command).await.unwrap().result.unwrap();
        }
        member.stop().await;
    });
    DataLocation { folder, log: None }
}

/// A server that reports this health and index. Runs until the process exits.
fn server(healthy: bool, index: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let body = match String::from_utf8_lossy(&request[..length]).starts_with("GET /health") {
                true => format!(r#"{{"health":"{healthy}"}}"#),
                false => format!(r#"{{"errorCode":100,"message":"Key not found","index":{index}}}"#),
            };
            let status = if body.contains("errorCode") { "404 Not Found" } else { "200 OK" };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // The client may have disconnected.
            drop(stream.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    url
}

fn run(arguments: &[&str]) -> String {
    Program::ours().before("--endpoints").before(UNREACHABLE).run(arguments, "")
}

fn expect(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "{part:?} is not in: {output}");
    }
}

#[test]
fn a_backup_is_made_checked_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, backup, target) = (path("source"), path("deep/backup"), path("target"));
    let location = data(Path::new(&source), &[]);
    assert_eq!(run(&["backup", "--data-dir", &source, "--backup-dir", &backup]), "");
    let output = run(&["backup", "--verify", "--backup-dir", &backup]);
    expect(&output, &["out| the backup is whole: 2 keys at index "]);
    let output = run(&["-o", "json", "backup", "--verify", "--backup-dir", &backup]);
    let output: Value = serde_json::from_str(output.strip_prefix("out| ").unwrap()).unwrap();
    assert_eq!(output["keys"], 2);
    assert_ne!((&output["member"], &output["cluster"]), (&"1".into(), &"c".into()));
    let again = run(&["backup", "--data-dir", &source, "--backup-dir", &backup]);
    expect(&again, &["deep/backup/member exists already\n", "err| hint: name another directory", "exit 1\n"]);

    let output = run(&["restore", "--backup-dir", &backup, "--data-dir", &target]);
    expect(&output, &["out| restored: 2 keys at index ", "out| next: start etcd; it is member "]);
    let target_data = DataLocation { folder: Path::new(&target).join("member"), log: None };
    let first = MemberData::read(&target_data, 0).unwrap().identity;
    let output = run(&["restore", "--backup-dir", &backup, "--data-dir", &target]);
    expect(&output, &["exists already\n", "err| hint: --replace renames and keeps it", "exit 1\n"]);
    let output = run(&["restore", "--backup-dir", &backup, "--data-dir", &target, "--replace"]);
    expect(&output, &["out| previous data: ", "member.replaced-"]);
    // Two restores of one backup are different clusters.
    let second = MemberData::read(&target_data, 0).unwrap();
    assert_ne!(second.identity.cluster_id, first.cluster_id);
    let original = MemberData::read(&location, 0).unwrap();
    assert_eq!(second.store.index(), original.store.index());
    assert_eq!(second.store.key_count(), 2);
}

#[test]
fn backup_and_restore_reject_invalid_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, backup, empty) = (path("source"), path("backup"), path("empty"));
    data(Path::new(&source), &[]);
    let missing = run(&["backup", "--data-dir", &source]);
    assert_eq!(missing, "err| Error:  --backup-dir required\nexit 1\n");
    let output = run(&["backup", "--data-dir", &empty, "--backup-dir", &backup]);
    expect(
        &output,
        &["empty/member holds no data of a member\n", "err| hint: name the directory", "exit 1\n"],
    );
    let output = run(&["backup", "--data-dir", &source, "--wal-dir", &empty, "--backup-dir", &backup]);
    expect(&output, &["the log is not at ", "err| hint: name the log's directory with --wal-dir"]);
    assert!(!Path::new(&backup).exists());
    run(&["backup", "--data-dir", &source, "--backup-dir", &backup]);
    // A damaged backup is rejected.
    let state = Path::new(&backup).join("member/state/state-0000000000000001/data.mdb");
    let mut bytes = std::fs::read(&state).unwrap();
    let at = bytes.windows(5).rposition(|part| part == b"Hello").unwrap();
    bytes[at] = b'J';
    std::fs::write(&state, bytes).unwrap();
    for arguments in [
        &["backup", "--verify", "--backup-dir", &backup][..],
        &["restore", "--backup-dir", &backup, "--data-dir", &empty],
    ] {
        let output = run(arguments);
        expect(&output, &["reading the backup: ", "is damaged", "err| hint: ", "exit 1\n"]);
    }
    assert!(!Path::new(&empty).exists());
}

#[test]
fn a_running_members_data_is_backed_up_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, backup) = (path("source"), path("backup"));
    let location = data(Path::new(&source), &[]);
    // The lock of a running member.
    let lock = std::fs::File::open(location.folder.join("log/LOCK")).unwrap();
    lock.lock().unwrap();
    let output = run(&["backup", "--data-dir", &source, "--backup-dir", &backup]);
    expect(
        &output,
        &[
            "err| note: the member runs and could not be asked",
            "err| note: the backup has what is on its disk",
        ],
    );
    assert!(!output.contains("exit"), "{output}");
    let output = run(&["restore", "--backup-dir", &backup, "--data-dir", &source, "--replace"]);
    expect(&output, &["a member is running on ", "err| hint: stop it first", "exit 1\n"]);
    drop(lock);
    expect(
        &run(&["restore", "--backup-dir", &backup, "--data-dir", &source, "--replace"]),
        &["out| restored: 2 keys"],
    );
}

#[test]
fn recover_requires_a_lost_majority() {
    let check = |others: &[&str], arguments: &[&str], parts: &[&str], changed: bool| {
        let folder = tempfile::tempdir().unwrap();
        let location = data(folder.path(), others);
        let root = folder.path().display().to_string();
        let output = run(&[&["-o", "simple", "recover", "--data-dir", &root], arguments].concat());
        expect(&output, parts);
        assert_eq!(MemberData::read(&location, 0).unwrap().identity.cluster_id != 0xc, changed, "{output}");
        assert_eq!(location.folder.join("force-new-cluster").exists(), changed, "{output}");
    };
    let (healthy, behind, ahead) = (server(true, 5), server(false, 1), server(false, 1_000_000));
    check(&[], &["--yes"], &["member 1 is alone in its cluster", "exit 1\n"], false);
    check(
        &[&healthy, UNREACHABLE],
        &["--yes"],
        &["a majority of the cluster is alive, as http:", "etcdctl member remove", "exit 1\n"],
        false,
    );
    check(
        &[&behind, UNREACHABLE],
        &["--yes"],
        &["2 of 3 members are there, which is a majority", "exit 1\n"],
        false,
    );
    check(
        &[&ahead, UNREACHABLE, UNREACHABLE, UNREACHABLE],
        &["--yes"],
        &["has index 1000000, this one ", "do it there", "exit 1\n"],
        false,
    );
    let forgets = ["out| this member has 2 keys", "out| removes 2 m2 (http://127.0.0.1:1): does not respond"];
    check(
        &[UNREACHABLE, UNREACHABLE],
        &[],
        &[forgets[0], forgets[1], "err| nothing was changed", "--yes", "exit 1\n"],
        false,
    );
    check(
        &[UNREACHABLE, UNREACHABLE],
        &["--yes"],
        &[forgets[0], forgets[1], "out| next: sudo systemctl start etcd"],
        true,
    );
    check(
        &[&behind, UNREACHABLE, UNREACHABLE, UNREACHABLE],
        &["--yes"],
        &["without a majority, at index 1\n", "next: "],
        true,
    );
}

const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/store.json");

#[test]
fn import_validates_before_it_sets_anything() {
    let output = run(&["import", "--snap", "/dev/null"]);
    expect(&output, &["/dev/null: it is no snapshot of etcd 0.4: ", "err| hint: ", "exit 1\n"]);
    let output = run(&["import", "--snap", STORE, "--hidden", "/nobody"]);
    assert_eq!(output, "err| Error:  100: Key not found (/nobody) [12]\nexit 4\n");
    let output = run(&["import", "--snap", STORE, "-c", "3"]);
    expect(&output, &["store.json with 3 clients\n", "client: etcd cluster is unavailable", "exit 2\n"]);
}

#[test]
fn import_sets_each_key_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // The body is a form; requests arrive in one or two segments.
            while !complete(&request) {
                let length = stream.read(&mut buffer).unwrap_or_default();
                if length == 0 {
                    break;
                }
                request.extend_from_slice(&buffer[..length]);
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            let first = text.split(" HTTP/").next().unwrap_or_default().to_owned();
            let body = text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
            sender.send(format!("{first} {body}")).unwrap();
            let answer =
                r#"{"action":"set","node":{"key":"/k","value":"","modifiedIndex":1,"createdIndex":1}}"#;
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                answer.len()
            );
            stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
        }
    });
    let program = Program::ours().before("--no-sync").before("--endpoints").before(&url);
    let output = program.run(
        &["import", "--snap", STORE, "--hidden", "/_coreos.com", "--hidden", "/_coreos.com/_deeper"],
        "",
    );
    expect(
        &output,
        &["out| starting to import snapshot ", "with 10 clients\n", "out| finished importing 5 keys\n"],
    );
    expect(&output, &["err| extending key /service/web/1's ttl to 300 seconds\n"]);
    let mut received: Vec<String> = requests.try_iter().collect();
    received.sort();
    let expected = [
        "PUT /v2/keys/_coreos.com/_deeper/b value=2",
        "PUT /v2/keys/_coreos.com/fleet/a value=1",
        "PUT /v2/keys/message value=Hello",
        "PUT /v2/keys/service/web/1 ttl=300&value=10.0.0.1%3A80",
        "PUT /v2/keys/service/web/2 value=",
    ];
    assert_eq!(received, expected);
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
