//! The repository of The Update Framework that the server signs and serves, with a client.

mod peer;

use std::path::Path;

use omaha::CheckResponse;
use serde_json::{Value, json};
use tuf::MemoryStore;
use update_core::repository::{ChannelTarget, release_target};

use crate::support::repository::{ALPHA, BOARD, FOLDER, current, find, get, timestamp, version};
use crate::support::roots::{public, root, signed};
use crate::support::targets::{client, store};
use crate::support::{APP, Server, keys, machine, write_release};

#[test]
fn a_client_finds_and_downloads_what_a_channel_has() {
    let (server, release) = (Server::start(), keys());
    assert_eq!(get(&server, "timestamp.json").status, 404);
    server.publish("2.0.0", "alpha", &release);
    let (_, found) = find(&server, store(&server), "alpha");
    let (target, channel) = found.unwrap();
    assert_eq!(channel, ChannelTarget { version: version("2.0.0"), floors: vec![] });
    assert_eq!(find(&server, store(&server), "beta").1, None, "it has no version");
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "2.0.0");
    let expected = std::fs::read(folder.path().join("release.json")).unwrap();
    let mut client = client(&server, store(&server));
    assert_eq!(client.download(&target).unwrap(), expected);
    let trusted = client.refresh().unwrap();
    let path = release_target(BOARD, &version("2.0.0"));
    let target = client.find(&trusted, &path).unwrap().unwrap();
    assert_eq!(client.download(&target).unwrap(), expected);
    // The offer has the same file, and neither signatures nor metadata.
    let response = server.omaha(machine("m", "1.0.0", "alpha"));
    let CheckResponse::Update(offer) = response.check_response().unwrap() else { panic!("{response:?}") };
    let names: Vec<&str> = offer.additional.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["release.json"]);
    for missing in [
        "2.snapshot.json",
        "1.channels.json",
        "2.targets.json",
        "01.targets.json",
        "snapshot.json",
        "targets.json",
        "..%2ftimestamp.json",
        "1.root.json.sig",
    ] {
        assert_eq!(get(&server, missing).status, 404, "{missing}");
    }
    let sha256 = target.file.hashes.for_name().unwrap();
    for missing in [
        format!("releases/{BOARD}/2.0.0/{}.release.json", "0".repeat(64)),
        format!("releases/{BOARD}/2.0.1/{sha256}.release.json"),
        format!("releases/arm64-usr/2.0.0/{sha256}.release.json"),
        format!("releases/{BOARD}/2.0.0/{sha256}.usr.full"),
        format!("channels/gamma/{sha256}.{BOARD}"),
        format!("channels/alpha/{sha256}.arm64-usr"),
    ] {
        let reply = server.raw("GET", &format!("/files/keelson/targets/{missing}"), "", b"");
        assert_eq!(reply.status, 404, "{missing}");
    }
}

#[test]
fn each_change_of_a_channel_is_in_the_next_timestamp() {
    let (server, release) = (Server::start(), keys());
    for number in ["2.0.0", "3.0.0", "4.0.0"] {
        server.publish(number, "alpha", &release);
    }
    let set = |number: Value| server.admin_json("PUT", ALPHA, &json!({ "version": number }).to_string());
    let at = |server: &Server| current(server).map(|target| (target.version.to_string(), target.floors));
    let of = |number: &str, floors: &[&str]| {
        Some((number.to_owned(), floors.iter().map(|floor| version(floor)).collect::<Vec<_>>()))
    };
    assert_eq!(at(&server), of("4.0.0", &[]));
    set("2.0.0".into());
    assert_eq!(at(&server), of("2.0.0", &[]));
    set("4.0.0".into());
    for floor in ["3.0.0", "2.0.0"] {
        server.admin_json("PUT", &format!("{ALPHA}/floors/{floor}"), "");
    }
    assert_eq!(at(&server), of("4.0.0", &["2.0.0", "3.0.0"]));
    let ban = |number: &str| {
        server.admin_json("POST", &format!("/api/apps/keelson/packages/{number}/ban"), r#"{"why":"x"}"#)
    };
    ban("2.0.0");
    assert_eq!(at(&server), of("4.0.0", &["3.0.0"]), "nobody may install a banned floor");
    server.admin_json("POST", "/api/apps/keelson/channels/beta/promote", r#"{"from":"alpha"}"#);
    let beta = find(&server, store(&server), "beta").1.unwrap().1;
    assert_eq!(beta.version, version("4.0.0"));
    ban("4.0.0");
    assert_eq!(at(&server), None);
    set(Value::Null);
    assert_eq!(at(&server), None);
    // Nothing is signed without a change.
    let before = timestamp(&server);
    server.omaha(machine("m", "1.0.0", "alpha"));
    assert_eq!(timestamp(&server), before);
}

#[test]
fn versions_survive_restarts_and_the_loss_of_the_files() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, release) = (Server::open(data.path()), keys());
    server.publish("2.0.0", "alpha", &release);
    let (mut machine, _) = find(&server, store(&server), "alpha");
    let folder = data.path().join(FOLDER);
    let file = |name: &str| folder.join(name);
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let mut last = timestamp(&server).header.version;
    let backup = tempfile::tempdir().unwrap();
    for name in names(&folder) {
        std::fs::copy(file(&name), backup.path().join(name)).unwrap();
    }
    // What may have happened when the server stopped.
    let snapshot = |version| format!("{version}.snapshot.json");
    let faults: [(&str, &dyn Fn(u64)); 7] = [
        ("nothing", &|_| {}),
        ("killed after the first file", &|last| {
            std::fs::write(file(&format!("{}.channels.json", last + 1)), "{").unwrap();
        }),
        ("killed before the timestamp", &|last| {
            std::fs::copy(file(&snapshot(last)), file(&snapshot(last + 1))).unwrap();
        }),
        ("a lost snapshot", &|last| std::fs::remove_file(file(&snapshot(last))).unwrap()),
        ("a damaged timestamp", &|_| std::fs::write(file("timestamp.json"), "{").unwrap()),
        ("all signed files are lost", &|_| {
            for name in names(&folder).iter().filter(|name| !name.ends_with("targets.json")) {
                std::fs::remove_file(file(name)).unwrap();
            }
        }),
        ("an old backup", &|_| {
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            for name in names(backup.path()) {
                std::fs::copy(backup.path().join(&name), file(&name)).unwrap();
            }
        }),
    ];
    for (what, fault) in faults {
        server.stop();
        fault(last.get());
        // Versions are at least the Unix time: some of these faults lose up to two.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        server = Server::open(data.path());
        let found;
        (machine, found) = find(&server, machine, "alpha");
        assert_eq!(found.unwrap().1.version, version("2.0.0"), "{what}");
        let new = timestamp(&server).header.version;
        assert!(new > last, "{what}: {new} after {last}");
        last = new;
    }
}

#[test]
fn a_failed_write_leaves_what_was_served() {
    let (server, release) = (Server::start(), keys());
    for number in ["2.0.0", "3.0.0"] {
        server.publish(number, "alpha", &release);
    }
    let first = timestamp(&server).header.version;
    // As a full disk: the last one of the files cannot be replaced.
    let path = server.data.join(FOLDER).join("timestamp.json");
    let saved = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    server.admin_json("PUT", ALPHA, r#"{"version":"2.0.0"}"#);
    let failed = get(&server, "timestamp.json");
    assert_eq!((failed.status, &*failed.text()), (503, "the signed metadata cannot be stored\n"));
    assert_eq!(get(&server, &format!("{first}.snapshot.json")).status, 200);
    // Nothing of the version that failed is served.
    let failed = first.get() + 1;
    for role in ["snapshot", "channels"] {
        let newer =
            (failed..failed + 30).map(|version| get(&server, &format!("{version}.{role}.json")).status);
        assert!(newer.collect::<Vec<_>>().iter().all(|status| *status == 404));
    }
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, saved).unwrap();
    assert_eq!(current(&server).unwrap().version, version("2.0.0"));
    assert!(timestamp(&server).header.version.get() > failed, "its version is not used again");
}

#[test]
fn old_versions_are_readable_for_a_while() {
    let (server, release) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &release);
    let first = timestamp(&server).header.version;
    let change = |count: usize| {
        for number in 0..count {
            let version = if number % 2 == 0 { Value::Null } else { "2.0.0".into() };
            server.admin_json("PUT", ALPHA, &json!({ "version": version }).to_string());
            timestamp(&server);
        }
    };
    let read = || ["snapshot", "channels"].map(|role| get(&server, &format!("{first}.{role}.json")).status);
    change(20);
    assert_eq!(read(), [200, 200]);
    change(60);
    assert_eq!(read(), [404, 404]);
    let names = std::fs::read_dir(server.data.join(FOLDER)).unwrap().count();
    assert_eq!(names, 64 * 2 + 2);
    assert_eq!(current(&server).unwrap().version, version("2.0.0"));
}

#[test]
fn clients_see_a_consistent_state_while_channels_change() {
    let (server, release) = (Server::start(), keys());
    for number in ["2.0.0", "3.0.0"] {
        server.publish(number, "alpha", &release);
    }
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for number in ["2.0.0", "3.0.0"].iter().cycle().take(40) {
                server.admin_json("PUT", ALPHA, &json!({ "version": number }).to_string());
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    let mut machine = store(&server);
                    for _ in 0..10 {
                        let found;
                        (machine, found) = find(&server, machine, "alpha");
                        let (target, channel) = found.unwrap();
                        assert!(["2.0.0", "3.0.0"].contains(&&*channel.version.to_string()));
                        client(&server, MemoryStore::default()).download(&target).unwrap();
                    }
                })
            })
            .collect();
        changes.join().unwrap();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert_eq!(current(&server).unwrap().version, version("3.0.0"));
}

/// Whoever takes over the server has its key.
/// A server that was run without roots until now.
#[test]
fn a_minisign_channel_key_signs_under_the_name_that_the_root_gives_it() {
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (channel, release) = (keys(), keys());
    let path = folder.path().join("channel.key");
    let text = channel.sk.to_box(Some("Keelson's channel key own")).unwrap().into_string();
    std::fs::write(&path, text).unwrap();
    let server = Server::open_with(data.path(), Some(path));
    let first = root(1, &public(&release), &public(&channel));
    assert_eq!(crate::support::roots::publish(&server, &signed(&first, &[1, 3])).status, 200);
    server.publish("2.0.0", "alpha", &release);
    assert_eq!(current(&server).unwrap().version, version("2.0.0"));
    assert!(APP.contains(FOLDER.split_once('/').unwrap().1));
}
