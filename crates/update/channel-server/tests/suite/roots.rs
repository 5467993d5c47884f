//! Root metadata on the channel server: verified in order, served to machines, persistent.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use channel_server::{OpenError, Settings};
use omaha::CheckResponse;
use rollout::App;
use serde_json::{Value, json};
use tuf::{Date, Root};
use update_core::roots::{MAX_ROOT, Role, file, set_keys};

use crate::support::roots::{
    EXPIRES, FOLDER, PATH, body, online_key, public, publish, root, set_root_keys, signed,
};
use crate::support::{HttpReply, Server, keys, machine};

#[track_caller]
fn rejected(reply: &HttpReply, status: u16, expect: &str) {
    assert!(reply.status == status && reply.text().contains(expect), "{} {}", reply.status, reply.text());
}

/// A server with root version 1, and that root.
fn with_first_root(data: &Path) -> (Server, Root) {
    let server = Server::open(data);
    let first = root(1, &public(&keys()), &public(&keys()));
    assert_eq!(publish(&server, &signed(&first, &[1, 2])).status, 200);
    (server, first)
}

/// The next version of a root, after a change.
fn next(root: &Root, change: impl Fn(&mut Root)) -> Root {
    let mut next = root.clone();
    next.header.version = next.header.version.saturating_add(1);
    change(&mut next);
    next
}

/// Adds a field that TUF's clients ignore, so that the file has `size` bytes.
fn padded(root: &Root, signers: &[u8], size: usize) -> String {
    let with = |count: usize| {
        let mut root = root.clone();
        // Of two bytes each in the file, and of four in a request.
        let pad = "\"".repeat(count / 2) + &"x".repeat(count % 2);
        root.extra.insert("x-padding".to_owned(), pad.into());
        signed(&root, signers)
    };
    let text = with(size - with(0).len());
    assert_eq!(text.len(), size);
    text
}

fn get(server: &Server, path: &str) -> HttpReply {
    server.raw("GET", path, "", b"")
}

#[test]
fn machines_get_the_roots_as_published() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, release) = (Server::open(data.path()), keys());
    let first = root(1, &public(&release), &online_key(&server));
    let one = signed(&first, &[1, 2]);
    let taken = publish(&server, &one).json();
    assert_eq!(taken, json!({ "ok": true, "version": 1, "targets": null, "online_key_counts": true }));
    server.publish("2.0.0", "alpha", &release);
    // Root key 4 replaces root key 1.
    let second = next(&first, |root| {
        set_root_keys(root, &[2, 3, 4], 2);
    });
    let two = signed(&second, &[4, 3, 2]);
    let taken = publish(&server, &two).json();
    assert_eq!(taken, json!({ "ok": true, "version": 2, "targets": 1, "online_key_counts": true }));

    for restarted in [false, true] {
        if restarted {
            server.stop();
            server = Server::open(data.path());
        }
        let response = server.omaha(machine("m", "1.0.0", "alpha"));
        let CheckResponse::Update(offer) = response.check_response().unwrap() else { panic!("{response:?}") };
        // Machines request the next version, whatever the offer lists.
        assert!(offer.additional.iter().all(|package| !package.name.ends_with("root.json")), "{offer:?}");
        for (version, text) in [(1, &one), (2, &two)] {
            let reply = get(&server, &format!("/files/keelson/metadata/{}", file(version)));
            assert_eq!((reply.status, &reply.text()), (200, text), "{version}");
        }
        for name in ["3.root.json", "01.root.json", "+1.root.json", "root.json", "1.root.json.sig"] {
            assert_eq!(get(&server, &format!("/files/keelson/metadata/{name}")).status, 404, "{name}");
        }
        assert_eq!(get(&server, "/files/nope/metadata/1.root.json").status, 404);
        let listed = server.admin_json("GET", PATH, "");
        assert_eq!(listed, json!({ "versions": [1, 2], "expires": EXPIRES, "warning": null, "targets": 1 }));
    }
}

#[test]
fn only_successors_that_machines_accept_are_published() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::open(data.path());
    let listed = || server.admin_json("GET", PATH, "")["versions"].clone();
    let first = root(1, &public(&keys()), &public(&keys()));
    let one_key = |root: &mut Root| set_root_keys(root, &[1, 2, 3], 1);
    let two_roles = |root: &mut Root| {
        let release = update_core::roots::named_keys(root, Role::Release);
        set_keys(root, Role::Channel, &release, 1.try_into().unwrap());
    };
    let few = "machines would reject root version 1: signed by 1 of 2 keys of role root";
    rejected(&publish(&server, &signed(&first, &[1])), 400, few);
    rejected(&publish(&server, &signed(&first, &[1, 9])), 400, few);
    for (change, why) in [
        (&one_key as &dyn Fn(&mut Root), "threshold of root: must be at least 2"),
        (&two_roles, "channel `own` are the same key"),
    ] {
        let mut broken = first.clone();
        change(&mut broken);
        rejected(&publish(&server, &signed(&broken, &[1, 2])), 400, why);
        assert_eq!(listed(), json!([]));
    }
    assert_eq!(publish(&server, &signed(&first, &[1, 2])).status, 200);

    let new_keys = |root: &mut Root| set_root_keys(root, &[4, 5, 6], 2);
    let same = |_: &mut Root| {};
    let few = "machines would reject root version 2: signed by 1 of 2 keys of role root";
    for (change, signers, why) in [
        // A thief of one root key, who creates more.
        (&new_keys as &dyn Fn(&mut Root), &[1, 4, 5, 6][..], few),
        // The new keys may be lost already.
        (&new_keys, &[1, 2, 3, 4], few),
        (&same, &[1], few),
        (&|root: &mut Root| root.header.version = 3.try_into().unwrap(), &[1, 2], "version 3, expected 2"),
        (&one_key, &[1, 2], "threshold of root: must be at least 2"),
        (&two_roles, &[1, 2], "channel `own` are the same key"),
    ] {
        rejected(&publish(&server, &signed(&next(&first, change), signers)), 400, why);
        assert_eq!(listed(), json!([1]), "{why}");
    }
    rejected(&publish(&server, "{}"), 400, "malformed root metadata: ");
    let second = next(&first, same);
    let tampered = signed(&second, &[1, 2]).replace("2096-10-02T07:06:40Z", "2097-10-02T07:06:40Z");
    rejected(&publish(&server, &tampered), 400, "signed by 0 of 2 keys");
    let viewer = format!("Authorization: Bearer {}\r\n", server.viewer());
    let two = signed(&second, &[1, 2]);
    assert_eq!(server.raw("POST", PATH, &viewer, body(&two).as_bytes()).status, 403);
    let stored: Vec<_> = std::fs::read_dir(data.path().join(FOLDER)).unwrap().flatten().collect();
    assert_eq!((stored.len(), stored[0].file_name()), (1, "1.root.json".into()));
    assert_eq!(publish(&server, &two).status, 200);
}

#[test]
fn the_longest_root_is_published_and_no_longer_one() {
    let data = tempfile::tempdir().unwrap();
    let (server, first) = with_first_root(data.path());
    let second = next(&first, |_| {});
    for size in [MAX_ROOT + 1, 65 << 10, 192 << 10] {
        let why = format!("the root metadata has {size} bytes; the maximum is 65536");
        rejected(&publish(&server, &padded(&second, &[1, 2], size)), 400, &why);
    }
    rejected(&server.as_admin("POST", PATH, &" ".repeat(11 << 20)), 413, "too large");
    let longest = padded(&second, &[1, 2], MAX_ROOT);
    assert!(body(&longest).len() > 2 * MAX_ROOT - 8192);
    assert_eq!(publish(&server, &longest).status, 200);
    assert_eq!(get(&server, "/files/keelson/metadata/2.root.json").text(), longest);
}

#[test]
fn a_published_version_never_changes() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::open(data.path());
    let second = root(2, &public(&keys()), &public(&keys()));
    let two = signed(&second, &[1, 2]);
    assert_eq!(publish(&server, &two).status, 200);
    // Again, or with other signatures: the file is still the first one.
    for signers in [&[1, 2][..], &[1, 2, 3], &[3, 2], &[]] {
        let again = publish(&server, &signed(&second, signers));
        assert_eq!((again.status, &again.json()["version"]), (200, &json!(2)), "{signers:?}");
    }
    assert_eq!(get(&server, "/files/keelson/metadata/2.root.json").text(), two);
    assert_eq!(std::fs::read_to_string(data.path().join(FOLDER).join("2.root.json")).unwrap(), two);
    // Complete, but another root.
    let other = root(2, &public(&keys()), &public(&keys()));
    let why = "root version 2 is already published with other content: published versions are immutable";
    rejected(&publish(&server, &signed(&other, &[1, 2, 3])), 409, why);
    let older = root(1, &public(&keys()), &public(&keys()));
    rejected(&publish(&server, &signed(&older, &[1, 2])), 409, "older than 2, the first one on this server");
    assert_eq!(get(&server, "/files/keelson/metadata/2.root.json").text(), two);
}

#[test]
fn a_root_close_to_expiry_causes_a_warning() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::open(data.path());
    let shown = || server.admin_json("GET", "/api/apps/keelson", "")["root"].clone();
    assert_eq!(shown(), Value::Null);
    let none = json!({ "versions": [], "expires": null, "warning": null, "targets": null });
    assert_eq!(server.admin_json("GET", PATH, ""), none);
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let soon = now + 11 * 86_400 - 3600;
    let expired =
        "Root version 1 has expired: machines install no updates until a newer version is published.";
    let mut latest: Option<Root> = None;
    // A machine that was off follows a chain with expired roots.
    for (expires, warning) in
        [(now, Some(expired)), (soon, Some("Root version 2 expires in 10 days.")), (EXPIRES, None)]
    {
        let mut new = match &latest {
            Some(root) => next(root, |_| {}),
            None => root(1, &public(&keys()), &public(&keys())),
        };
        new.header.expires = Date::from_unix(expires).unwrap();
        assert_eq!(publish(&server, &signed(&new, &[1, 2])).status, 200);
        let version = new.header.version;
        assert_eq!(shown(), json!({ "version": version, "expires": expires, "warning": warning }));
        let listed = server.admin_json("GET", PATH, "");
        assert_eq!((&listed["expires"], &listed["warning"]), (&json!(expires), &json!(warning)));
        latest = Some(new);
    }
    let metrics = get(&server, "/metrics").text();
    let line = "keelson_updates_root_expiry_timestamp_seconds{app=\"keelson\"} 4000000000\n";
    assert!(metrics.contains(line), "{metrics}");
}

/// Why a server with this folder does not start.
fn open_error(data: &Path) -> String {
    let app = App { id: crate::support::APP.into(), name: "Keelson".into(), product_id: None };
    let settings = Settings { data: data.to_owned(), public_url: None, key: None, app };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(channel_server::Server::open(settings)).err().unwrap();
    assert!(matches!(error, OpenError::Repositories(_)), "{error}");
    service::error::chain(&error)
}

#[test]
fn damaged_roots_are_reported_and_not_served() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, first) = with_first_root(data.path());
    let second = next(&first, |_| {});
    let two = signed(&second, &[1, 2]);
    assert_eq!(publish(&server, &two).status, 200);
    server.stop();
    let path = |name: &str| data.path().join(FOLDER).join(name);
    let one = std::fs::read_to_string(path("1.root.json")).unwrap();
    let tampered = two.replace("2096-10-02T07:06:40Z", "2097-10-02T07:06:40Z");
    let long = padded(&second, &[1, 2], MAX_ROOT + 1);
    for (name, text, why) in [
        ("2.root.json", &*tampered, "signed by 0 of 2 keys"),
        ("2.root.json", &two[..two.len() / 2], "malformed root metadata"),
        ("2.root.json", "", "malformed root metadata"),
        ("2.root.json", &one, "version 1, expected 2"),
        ("2.root.json", &long, "the maximum is 65536"),
        ("1.root.json", &two, "it has root version 2"),
        ("4.root.json", &signed(&next(&next(&second, |_| {}), |_| {}), &[1, 2]), "version 4, expected 3"),
    ] {
        let before = std::fs::read(path(name)).ok();
        std::fs::write(path(name), text).unwrap();
        let error = open_error(data.path());
        let expect = format!("{} is damaged: ", path(name).display());
        assert!(error.contains(&expect) && error.contains(why), "{error}");
        match before {
            Some(before) => std::fs::write(path(name), before).unwrap(),
            None => std::fs::remove_file(path(name)).unwrap(),
        }
    }
    let server = Server::open(data.path());
    assert_eq!(get(&server, "/files/keelson/metadata/2.root.json").text(), two);
}
