//! Key sets on the channel server: verified in order, offered to machines, persistent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use channel_server::Settings;
use minisign::KeyPair;
use omaha::CheckResponse;
use release::{KeySet, KeyText, NamedKey, SCHEMA, files};
use rollout::App;
use serde_json::{Value, json};
use support::{HttpReply, Server, keys, machine, write_release};

const PATH: &str = "/api/apps/keelson/keys";

fn named(name: &str, pair: &KeyPair) -> NamedKey {
    let key = KeyText::of_file(&pair.pk.to_box().unwrap().to_string()).unwrap();
    NamedKey { name: name.parse().unwrap(), key }
}

struct Operator {
    roots: [KeyPair; 3],
    channel: KeyPair,
}

impl Operator {
    fn new() -> Self {
        Self { roots: std::array::from_fn(|_| keys()), channel: keys() }
    }

    fn set(&self, epoch: u64, release: &KeyPair) -> String {
        self.set_until(4_000_000_000, epoch, release)
    }

    fn set_until(&self, expires: u64, epoch: u64, release: &KeyPair) -> String {
        let [one, two, three] = &self.roots;
        let set = KeySet {
            schema: SCHEMA,
            epoch,
            issued: 100,
            expires,
            threshold: 2,
            root: vec![named("one", one), named("two", two), named("three", three)],
            release: vec![named("own", release)],
            channel: vec![named("own", &self.channel)],
        };
        String::from_utf8(set.to_bytes().unwrap()).unwrap()
    }

    /// Sends the set, signed by the first `signers` root keys.
    fn upload(&self, server: &Server, set: &str, signers: usize) -> HttpReply {
        let sign = |pair: &KeyPair| {
            minisign::sign(None, &pair.sk, set.as_bytes(), Some("t"), None).unwrap().to_string()
        };
        let signatures: String = self.roots.iter().take(signers).map(sign).collect();
        server.as_admin("POST", PATH, &json!({ "set": set, "signatures": signatures }).to_string())
    }
}

#[track_caller]
fn rejected(reply: &HttpReply, status: u16, expect: &str) {
    assert!(reply.status == status && reply.text().contains(expect), "{} {}", reply.status, reply.text());
}

#[test]
fn key_sets_are_verified_stored_and_offered() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::open(data.path());
    let (operator, first, second) = (Operator::new(), keys(), keys());
    let [one, two, three] =
        [(1, &first), (2, &second), (3, &second)].map(|(epoch, key)| operator.set(epoch, key));
    rejected(
        &operator.upload(&server, &one, 1),
        400,
        "needs signatures by 2 root keys of set 1, and has one",
    );
    let taken = operator.upload(&server, &one, 2);
    assert_eq!(taken.json(), json!({ "ok": true, "epoch": 1, "online_key_counts": false }));
    // A set can be sent again, but an epoch cannot be redefined.
    assert_eq!(operator.upload(&server, &one, 3).status, 200);
    rejected(
        &operator.upload(&server, &operator.set(1, &second), 2),
        409,
        "published key sets are immutable",
    );
    rejected(&operator.upload(&server, &three, 2), 400, "key set 1 must be followed by set 2, not by 3");
    rejected(&operator.upload(&server, &two, 1), 400, "needs signatures by 2 root keys of set 1");
    rejected(&operator.upload(&server, "{}", 2), 400, "missing field");
    server.publish("2.0.0", "alpha", &first);
    assert_eq!(operator.upload(&server, &two, 2).status, 200);
    // The old key no longer publishes releases.
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "3.0.0", &first);
    server.upload(folder.path(), "3.0.0");
    let publish =
        || server.as_admin("POST", "/api/apps/keelson/packages", r#"{"version":"3.0.0","arch":"amd64"}"#);
    rejected(&publish(), 400, "not signed by a key that this server trusts");
    write_release(folder.path(), "3.0.0", &second);
    server.upload(folder.path(), "3.0.0");
    assert_eq!(publish().status, 200);

    server.stop();
    let server = Server::open(data.path());
    let response = server.omaha(machine("m", "1.0.0", "alpha"));
    let CheckResponse::Update(offer) = response.check_response().unwrap() else { panic!("{response:?}") };
    let base = offer.urls[0].strip_prefix(&server.url("")).unwrap().to_owned();
    for (epoch, set) in [(1, &one), (2, &two)] {
        for name in [files::keys(epoch), files::keys_signatures(epoch)] {
            let package = offer.file(&name).unwrap();
            let reply = server.raw("GET", &omaha::file_url(&base, &name), "", b"");
            assert_eq!((reply.status, reply.body.len() as u64), (200, package.size), "{name}");
            assert!(name.ends_with(".sig") || reply.text() == *set, "{name}");
        }
    }
    // Machines also look for the next set without an offer.
    let beside = |name: &str| server.raw("GET", &format!("/files/keelson/alpha/{name}"), "", b"");
    assert_eq!((beside("keys.2.json").status, beside("keys.2.json").text()), (200, two));
    assert_eq!(beside("keys.2.json.sig").status, 200);
    assert_eq!(beside("keys.3.json").status, 404);
    assert!(offer.file("keys.3.json").is_none());
    assert_eq!(server.raw("GET", &omaha::file_url(&base, "keys.3.json"), "", b"").status, 404);
    let response = server.admin_json("GET", PATH, "");
    assert_eq!((&response["epochs"], &response["newest"]["epoch"]), (&json!([1, 2]), &json!(2)));
    assert_eq!(
        server.raw("POST", PATH, &format!("Authorization: Bearer {}\r\n", server.viewer()), b"{}").status,
        403
    );
}

#[test]
fn a_key_set_close_to_expiry_causes_a_warning() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::open(data.path());
    let (operator, key) = (Operator::new(), keys());
    let key_set = || server.admin_json("GET", "/api/apps/keelson", "")["key_set"].clone();
    assert_eq!(key_set(), Value::Null);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let soon = now + 11 * 86_400;
    assert_eq!(operator.upload(&server, &operator.set_until(soon - 3600, 1, &key), 2).status, 200);
    let warning = "Key set 1 expires in 10 days.";
    assert_eq!(key_set(), json!({ "epoch": 1, "expires": soon - 3600, "warning": warning }));
    assert_eq!(operator.upload(&server, &operator.set(2, &key), 2).status, 200);
    assert_eq!(key_set(), json!({ "epoch": 2, "expires": 4_000_000_000_u64, "warning": null }));
    let metrics = server.raw("GET", "/metrics", "", b"").text();
    let line = "keelson_updates_key_set_expiry_timestamp_seconds{app=\"keelson\"} 4000000000\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn a_damaged_key_set_is_reported_and_not_served() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::open(data.path());
    let (operator, key) = (Operator::new(), keys());
    assert_eq!(operator.upload(&server, &operator.set(1, &key), 2).status, 200);
    server.stop();
    let path = data.path().join("key-sets/e96281a6-d1af-4bde-9a0a-97b76e56dc57/keys.1.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"issued\": 100", "\"issued\": 101")).unwrap();
    let app = App { id: support::APP.into(), name: "Keelson".into(), product_id: None };
    let settings = Settings { data: data.path().to_owned(), public_url: None, key: None, app };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(channel_server::Server::open(settings)).err().unwrap();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.ends_with("keys.1.json is damaged"), "{error}");
}
