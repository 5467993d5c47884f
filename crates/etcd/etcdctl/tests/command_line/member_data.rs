//! `backup`, `restore` and `recover` on the data of a member, and `import`: what they do, and what they refuse.

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

const NOBODY: &str = "http://127.0.0.1:1";

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

/// The data of member 1 with two keys, which knows of one other member for each of `others`, their client URLs.
fn data(root: &Path, others: &[&str]) -> DataLocation {
    let folder = root.join("member");
    std::fs::create_dir_all(&folder).unwrap();
    let mut config = MemberConfig::new(folder.clone(), 0xc, 1, "m1");
    config.peer_urls = vec![NOBODY.to_owned()];
    config.start =
        Start::New(vec![InitialMember { id: 1, name: "m1".into(), peer_urls: vec![NOBODY.into()] }]);
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

/// A server that says of itself that it is healthy or not, and has that index. Ends with the process.
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
            // Who asked may be gone.
            drop(stream.write_all(format!("{head}{body}").as_bytes()));
        }
    });
    url
}

fn run(words: &[&str]) -> String {
    Program::ours().before("--endpoints").before(NOBODY).run(words, "")
}

fn expect(told: &str, parts: &[&str]) {
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
}

#[test]
fn a_backup_is_made_checked_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, backup, target) = (path("source"), path("deep/backup"), path("target"));
    let place = data(Path::new(&source), &[]);
    assert_eq!(run(&["backup", "--data-dir", &source, "--backup-dir", &backup]), "");
    let told = run(&["backup", "--verify", "--backup-dir", &backup]);
    expect(&told, &["out| the backup is whole: 2 keys at index "]);
    let told = run(&["-o", "json", "backup", "--verify", "--backup-dir", &backup]);
    let told: Value = serde_json::from_str(told.strip_prefix("out| ").unwrap()).unwrap();
    assert_eq!(told["keys"], 2);
    assert_ne!((&told["member"], &told["cluster"]), (&"1".into(), &"c".into()));
    let again = run(&["backup", "--data-dir", &source, "--backup-dir", &backup]);
    expect(
        &again,
        &["deep/backup/member is there already\n", "err| hint: name another directory", "exit 1\n"],
    );

    let told = run(&["restore", "--backup-dir", &backup, "--data-dir", &target]);
    expect(&told, &["out| restored: 2 keys at index ", "out| next: start etcd; it is member "]);
    let there = DataLocation { folder: Path::new(&target).join("member"), log: None };
    let first = MemberData::read(&there, 0).unwrap().identity;
    let told = run(&["restore", "--backup-dir", &backup, "--data-dir", &target]);
    expect(&told, &["is there already\n", "err| hint: --replace moves it away and keeps it", "exit 1\n"]);
    let told = run(&["restore", "--backup-dir", &backup, "--data-dir", &target, "--replace"]);
    expect(&told, &["out| what was there is kept in ", "member.replaced-"]);
    // Two clusters of one backup are two.
    let second = MemberData::read(&there, 0).unwrap();
    assert_ne!(second.identity.cluster_id, first.cluster_id);
    let original = MemberData::read(&place, 0).unwrap();
    assert_eq!(second.store.index(), original.store.index());
    assert_eq!(second.store.key_count(), 2);
}

#[test]
fn what_backup_and_restore_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, backup, empty) = (path("source"), path("backup"), path("empty"));
    data(Path::new(&source), &[]);
    let missing = run(&["backup", "--data-dir", &source]);
    assert_eq!(missing, "err| Error:  --backup-dir required\nexit 1\n");
    let told = run(&["backup", "--data-dir", &empty, "--backup-dir", &backup]);
    expect(&told, &["empty/member holds no data of a member\n", "err| hint: name the directory", "exit 1\n"]);
    let told = run(&["backup", "--data-dir", &source, "--wal-dir", &empty, "--backup-dir", &backup]);
    expect(&told, &["the log is not at ", "err| hint: name the log's directory with --wal-dir"]);
    assert!(!Path::new(&backup).exists());
    run(&["backup", "--data-dir", &source, "--backup-dir", &backup]);
    // A part of a backup is none.
    let state = Path::new(&backup).join("member/state/state-0000000000000001/data.mdb");
    let mut bytes = std::fs::read(&state).unwrap();
    let at = bytes.windows(5).rposition(|part| part == b"Hello").unwrap();
    bytes[at] = b'J';
    std::fs::write(&state, bytes).unwrap();
    for words in [
        &["backup", "--verify", "--backup-dir", &backup][..],
        &["restore", "--backup-dir", &backup, "--data-dir", &empty],
    ] {
        let told = run(words);
        expect(&told, &["reading the backup: ", "is damaged", "err| hint: ", "exit 1\n"]);
    }
    assert!(!Path::new(&empty).exists());
}

#[test]
fn a_running_members_data_is_backed_up_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, backup) = (path("source"), path("backup"));
    let place = data(Path::new(&source), &[]);
    // What a member holds while it runs.
    let lock = std::fs::File::open(place.folder.join("log/LOCK")).unwrap();
    lock.lock().unwrap();
    let told = run(&["backup", "--data-dir", &source, "--backup-dir", &backup]);
    expect(
        &told,
        &[
            "err| note: the member runs and could not be asked",
            "err| note: the backup has what is on its disk",
        ],
    );
    assert!(!told.contains("exit"), "{told}");
    let told = run(&["restore", "--backup-dir", &backup, "--data-dir", &source, "--replace"]);
    expect(&told, &["a member is running on ", "err| hint: stop it first", "exit 1\n"]);
    drop(lock);
    expect(
        &run(&["restore", "--backup-dir", &backup, "--data-dir", &source, "--replace"]),
        &["out| restored: 2 keys"],
    );
}

#[test]
fn recover_is_for_a_lost_majority_alone() {
    let check = |others: &[&str], words: &[&str], parts: &[&str], changed: bool| {
        let folder = tempfile::tempdir().unwrap();
        let place = data(folder.path(), others);
        let root = folder.path().display().to_string();
        let told = run(&[&["-o", "simple", "recover", "--data-dir", &root], words].concat());
        expect(&told, parts);
        assert_eq!(MemberData::read(&place, 0).unwrap().identity.cluster_id != 0xc, changed, "{told}");
        assert_eq!(place.folder.join("force-new-cluster").exists(), changed, "{told}");
    };
    let (healthy, behind, ahead) = (server(true, 5), server(false, 1), server(false, 1_000_000));
    check(&[], &["--yes"], &["member 1 is alone in its cluster", "exit 1\n"], false);
    check(
        &[&healthy, NOBODY],
        &["--yes"],
        &["a majority of the cluster is alive: ", "etcdctl member remove", "exit 1\n"],
        false,
    );
    check(
        &[&behind, NOBODY],
        &["--yes"],
        &["2 of 3 members are there, which is a majority", "exit 1\n"],
        false,
    );
    check(
        &[&ahead, NOBODY, NOBODY, NOBODY],
        &["--yes"],
        &["has index 1000000, this one ", "do it there", "exit 1\n"],
        false,
    );
    let forgets =
        ["out| this member has 2 keys", "out| it forgets 2 m2 (http://127.0.0.1:1): does not answer"];
    check(
        &[NOBODY, NOBODY],
        &[],
        &[forgets[0], forgets[1], "err| nothing was changed", "--yes", "exit 1\n"],
        false,
    );
    check(
        &[NOBODY, NOBODY],
        &["--yes"],
        &[forgets[0], forgets[1], "out| next: sudo systemctl start etcd"],
        true,
    );
    check(
        &[&behind, NOBODY, NOBODY, NOBODY],
        &["--yes"],
        &["without a majority, at index 1\n", "next: "],
        true,
    );
}

const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/store.json");

#[test]
fn what_import_refuses_before_it_sets_anything() {
    let told = run(&["import", "--snap", "/dev/null"]);
    expect(&told, &["/dev/null: it is no snapshot of etcd 0.4: ", "err| hint: ", "exit 1\n"]);
    let told = run(&["import", "--snap", STORE, "--hidden", "/nobody"]);
    assert_eq!(told, "err| Error:  100: Key not found (/nobody) [12]\nexit 4\n");
    let told = run(&["import", "--snap", STORE, "-c", "3"]);
    expect(&told, &["store.json with 3 clients\n", "client: etcd cluster is unavailable", "exit 2\n"]);
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
            // A request of this client comes in one piece or two; its body is a form that ends it.
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
    let told = program.run(
        &["import", "--snap", STORE, "--hidden", "/_coreos.com", "--hidden", "/_coreos.com/_deeper"],
        "",
    );
    expect(
        &told,
        &["out| starting to import snapshot ", "with 10 clients\n", "out| finished importing 5 keys\n"],
    );
    expect(&told, &["err| extending key /service/web/1's ttl to 300 seconds\n"]);
    let mut seen: Vec<String> = requests.try_iter().collect();
    seen.sort();
    let expected = [
        "PUT /v2/keys/_coreos.com/_deeper/b value=2",
        "PUT /v2/keys/_coreos.com/fleet/a value=1",
        "PUT /v2/keys/message value=Hello",
        "PUT /v2/keys/service/web/1 ttl=300&value=10.0.0.1%3A80",
        "PUT /v2/keys/service/web/2 value=",
    ];
    assert_eq!(seen, expected);
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
