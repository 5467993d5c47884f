//! Which roots, targets and releases the server publishes.

use minisign::KeyPair;
use serde_json::{Value, json};
use tuf::{Cause, Client, File, Targets};
use update_core::repository::{ChannelTarget, channel_target, next_targets, release_target};
use update_core::roots::{Role, set_keys};

use crate::support::repository::{
    ALPHA, BOARD, FOLDER, current, find, get, publish_both, rejected, successor, timestamp, version,
};
use crate::support::roots::{PATH, body, named, online_key, public, set_root_keys, signed};
use crate::support::targets::{self, newest_root, publish, store, stored, with_release};
use crate::support::{Server, keys, machine, write_release};

#[test]
fn targets_that_lose_or_change_what_is_published_are_refused() {
    let (server, release) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &release);
    let root = newest_root(&server).unwrap();
    let published = stored(&server).unwrap();
    let send = |targets: &Targets, key: &KeyPair| publish(&server, &targets::signed(targets, &root, key));
    let changed = |change: &dyn Fn(&mut Targets)| {
        let mut new = next_targets(&root, Some(&published)).unwrap();
        change(&mut new);
        new
    };
    let path = release_target(BOARD, &version("2.0.0"));
    let dropped = changed(&|targets| drop(targets.targets.remove(&path)));
    let why = format!("targets.json version 2 does not list published releases: {path}");
    rejected(&send(&dropped, &release), 409, &why);
    let other = changed(&|targets| drop(targets.targets.insert(path.clone(), tuf::TargetFile::of(b"x"))));
    let why = format!("targets.json version 2 lists other digests of published releases: {path}");
    rejected(&send(&other, &release), 409, &why);
    let same = changed(&|targets| targets.header.version = 1.try_into().unwrap());
    rejected(&send(&same, &release), 200, "\"targets\":1");
    let same = changed(&|targets| {
        targets.header.version = 1.try_into().unwrap();
        targets.targets.insert("a".to_owned(), tuf::TargetFile::of(b"x"));
    });
    rejected(&send(&same, &release), 409, "version 1 is already published with other content");
    rejected(&send(&changed(&|_| {}), &keys()), 400, "signed by 0 of 1 keys of role targets");
    let expired = changed(&|targets| targets.header.expires = tuf::Date::from_unix(1_790_000_000).unwrap());
    rejected(&send(&expired, &release), 400, "expired at 2026-09-21");
    rejected(&publish(&server, "{}"), 400, "malformed targets.json");
    let viewer = format!("Authorization: Bearer {}\r\n", server.viewer());
    assert_eq!(server.raw("POST", PATH, &viewer, b"{}").status, 403);
    rejected(&server.as_admin("POST", PATH, "{}"), 400, "neither `root` nor `targets`");
    assert_eq!(stored(&server).unwrap(), published);
    // Forward, and back.
    assert_eq!(send(&changed(&|_| {}), &release).status, 200);
    rejected(&send(&published, &release), 409, "version 1 is older than 2, the published one");
    // A removed release may be dropped.
    server.admin_json("PUT", ALPHA, r#"{"version":null}"#);
    server.admin_json("DELETE", "/api/apps/keelson/packages/2.0.0", "");
    let mut dropped = dropped;
    dropped.header.version = 3.try_into().unwrap();
    assert_eq!(send(&dropped, &release).status, 200);
}

#[test]
fn a_release_that_targets_do_not_list_is_refused() {
    let (server, release) = (Server::start(), keys());
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "2.0.0");
    server.upload(folder.path(), "2.0.0");
    let send =
        || server.as_admin("POST", "/api/apps/keelson/packages", r#"{"version":"2.0.0","arch":"amd64"}"#);
    rejected(&send(), 409, "publish the root first: keelson keys publish");
    rejected(&publish(&server, "{}"), 409, "publish the root first: keelson keys publish");
    targets::ensure_root(&server, &release);
    rejected(&send(), 409, "there is no targets.json");
    let root = newest_root(&server).unwrap();
    let empty = next_targets(&root, None).unwrap();
    assert_eq!(publish(&server, &targets::signed(&empty, &root, &release)).status, 200);
    rejected(&send(), 409, "targets.json version 1 does not list version 2.0.0 for amd64-usr");
    let mut other = with_release(&server, folder.path());
    other.targets.insert(release_target(BOARD, &version("2.0.0")), tuf::TargetFile::of(b"x"));
    assert_eq!(publish(&server, &targets::signed(&other, &root, &release)).status, 200);
    rejected(&send(), 409, "lists another release.json of version 2.0.0 for amd64-usr: ");
    // It was never published: another one may be listed.
    let mut right = next_targets(&root, Some(&other)).unwrap();
    right.targets.clear();
    let bytes = std::fs::read(folder.path().join("release.json")).unwrap();
    right.targets.insert(release_target(BOARD, &version("2.0.0")), tuf::TargetFile::of(&bytes));
    assert_eq!(publish(&server, &targets::signed(&right, &root, &release)).status, 200);
    assert_eq!(send().status, 200);
}

#[test]
fn a_root_with_other_release_keys_needs_targets_in_the_same_request() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, [old, new]) = (Server::open(data.path()), [keys(), keys()]);
    server.publish("2.0.0", "alpha", &old);
    let (machine, _) = find(&server, store(&server), "alpha");
    let first = newest_root(&server).unwrap();
    let second = successor(&first, |root| {
        set_keys(root, Role::Release, &[named("own", &public(&new))], 1.try_into().unwrap());
        set_root_keys(root, &[1, 2, 4], 2);
    });
    let two = signed(&second, &[1, 2]);
    let alone = server.as_admin("POST", PATH, &body(&two));
    rejected(&alone, 409, "machines would reject targets.json version 1 under root version 2: ");
    let list = |release: &KeyPair| {
        let next = next_targets(&second, stored(&server).as_ref()).unwrap();
        targets::signed(&next, &second, release)
    };
    rejected(&publish_both(&server, &two, &list(&old)), 400, "signed by 0 of 1 keys of role targets");
    assert_eq!(newest_root(&server).unwrap(), first);
    // Killed between the writes: targets that the root until now does not verify are as if they were not there.
    let targets = list(&new);
    server.stop();
    std::fs::write(data.path().join(FOLDER).join("2.targets.json"), &targets).unwrap();
    server = Server::open(data.path());
    assert_eq!(get(&server, "2.targets.json").status, 404);
    let (machine, found) = find(&server, machine, "alpha");
    assert!(found.is_some());
    let reply = publish_both(&server, &two, &targets);
    assert_eq!(
        reply.json(),
        json!({ "ok": true, "version": 2, "targets": 2, "online_key_counts": true }),
        "{}",
        reply.text()
    );
    assert_eq!(find(&server, machine, "alpha").1.unwrap().1.version, version("2.0.0"));
    // The old key publishes nothing any more.
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "3.0.0");
    let third = with_release(&server, folder.path());
    rejected(&publish(&server, &targets::signed(&third, &second, &old)), 400, "signed by 0 of 1 keys");
    server.publish("3.0.0", "alpha", &new);
    assert_eq!(current(&server).unwrap().version, version("3.0.0"));
}

#[test]
fn nothing_is_signed_or_offered_with_a_key_that_no_root_lists() {
    let (server, release) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &release);
    assert_eq!(timestamp(&server).header.expires, timestamp(&server).header.expires);
    let first = newest_root(&server).unwrap();
    let second = successor(&first, |root| {
        set_keys(root, Role::Channel, &[named("own", &public(&keys()))], 1.try_into().unwrap());
    });
    let reply = server.as_admin("POST", PATH, &body(&signed(&second, &[1, 2]))).json();
    assert_eq!(reply, json!({ "ok": true, "version": 2, "targets": 1, "online_key_counts": false }));
    let why = "the key of this server is not a channel key of root version 2";
    rejected(&get(&server, "timestamp.json"), 503, why);
    let response = server.omaha(machine("m", "1.0.0", "alpha"));
    assert_eq!(response.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("not-listed"));
    let listed = server.admin_json("GET", "/api/apps/keelson/channels", "");
    let alpha = listed.as_array().unwrap().iter().find(|one| one["track"] == "alpha").unwrap();
    assert!(alpha["warning"].as_str().unwrap().contains(why), "{listed}");
    // The root lists the key again, but targets delegate to another one.
    let third = successor(&second, |root| {
        set_keys(root, Role::Channel, &[named("own", &online_key(&server))], 1.try_into().unwrap());
    });
    let targets = next_targets(&second, stored(&server).as_ref()).unwrap();
    let both = publish_both(&server, &signed(&third, &[1, 2]), &targets::signed(&targets, &third, &release));
    assert_eq!((both.status, &both.json()["online_key_counts"]), (200, &json!(false)));
    rejected(
        &get(&server, "timestamp.json"),
        503,
        "does not delegate role channels to the key of this server",
    );
    let targets = next_targets(&third, stored(&server).as_ref()).unwrap();
    let reply = publish(&server, &targets::signed(&targets, &third, &release)).json();
    assert_eq!(reply["online_key_counts"], true);
    assert_eq!(current(&server).unwrap().version, version("2.0.0"));
    let listed = server.admin_json("GET", "/api/apps/keelson/channels/alpha", "");
    assert_eq!(listed["warning"], Value::Null);
}

#[test]
fn the_online_key_alone_makes_no_client_accept_another_release() {
    let (server, release) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &release);
    let root = newest_root(&server).unwrap();
    let secret = std::fs::read_to_string(server.data.join("online.key")).unwrap();
    let secret = minisign::SecretKeyBox::from_string(&secret).unwrap().into_unencrypted_secret_key().unwrap();
    let thief = KeyPair { pk: minisign::PublicKey::from_secret_key(&secret).unwrap(), sk: secret };
    // Through the server.
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "6.6.6");
    let evil = with_release(&server, folder.path());
    rejected(&publish(&server, &targets::signed(&evil, &root, &thief)), 400, "signed by 0 of 1 keys");
    // Instead of the server: everything is signed again with its key.
    let key = targets::signer(&thief);
    let online = tuf::ListedSigner::of(&root.roles.timestamp, &root.keys, &key).unwrap();
    let evil_text = targets::signed(&evil, &root, &thief).into_bytes();
    let expires = timestamp(&server).header.expires;
    let number = timestamp(&server).header.version.saturating_add(1);
    let mut snapshot = tuf::Snapshot::new(expires);
    snapshot.header.version = number;
    snapshot.list("targets", tuf::MetaFile::of(evil.header.version, &evil_text));
    let role = update_core::repository::channel_targets(
        &evil,
        &[update_core::repository::Channel {
            name: "alpha".into(),
            board: BOARD.into(),
            target: ChannelTarget { version: version("6.6.6"), floors: vec![] },
        }],
        number,
        expires,
    );
    let role = tuf::sign(role.unwrap(), &[&online]).unwrap().to_bytes().unwrap();
    snapshot.list("channels", tuf::MetaFile::of(number, &role));
    let attack = |snapshot: &tuf::Snapshot, targets: Option<&[u8]>| {
        let snapshot = tuf::sign(snapshot.clone(), &[&online]).unwrap().to_bytes().unwrap();
        let mut timestamp = tuf::Timestamp::new(expires, tuf::MetaFile::of(number, &snapshot));
        timestamp.header.version = number;
        let timestamp = tuf::sign(timestamp, &[&online]).unwrap().to_bytes().unwrap();
        let own = |file: File<'_>, limit: u64| {
            let File::Metadata(name) = file else { return Ok(None) };
            Ok(match name {
                "timestamp.json" => Some(timestamp.clone()),
                name if name.ends_with(".snapshot.json") => Some(snapshot.clone()),
                name if name.ends_with(".channels.json") => Some(role.clone()),
                name if name.ends_with(".targets.json") && targets.is_some() => targets.map(<[u8]>::to_vec),
                _ => tuf::Fetch::fetch(&mut targets::Http(&server), file, limit)?,
            })
        };
        let mut client = Client::new(own, store(&server), tuf::Limits::default(), targets::now());
        let trusted = client.refresh()?;
        let found = client.find(&trusted, &channel_target("alpha", BOARD))?.unwrap();
        let listed = trusted.targets.targets.get(&release_target(BOARD, &version("6.6.6"))).cloned();
        Ok::<_, tuf::Error>((found, listed))
    };
    let error = attack(&snapshot, Some(&evil_text)).unwrap_err();
    assert!(matches!(error.cause, Cause::NotSigned(_)), "{error:?}");
    // With the real targets, the channel has a version that nobody with a release key has listed.
    let real = stored(&server).unwrap();
    let text = server.as_admin("GET", &format!("{PATH}/targets"), "").body;
    snapshot.list("targets", tuf::MetaFile::of(real.header.version, &text));
    let (found, listed) = attack(&snapshot, None).unwrap();
    assert_eq!((found.role.as_str(), listed), ("channels", None));
}

#[test]
fn releases_from_before_the_root_are_not_offered_until_they_are_listed() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, release) = (Server::open(data.path()), keys());
    server.publish("2.0.0", "alpha", &release);
    let listing = stored(&server).unwrap();
    server.stop();
    for folder in ["repository", "roots"] {
        std::fs::remove_dir_all(data.path().join(folder)).unwrap();
    }
    server = Server::open(data.path());
    let offered = |server: &Server| {
        let response = server.omaha(machine("m", "1.0.0", "alpha"));
        response.apps[0].update_check.as_ref().unwrap().reason.clone()
    };
    let warning =
        |server: &Server| server.admin_json("GET", "/api/apps/keelson/channels/alpha", "")["warning"].clone();
    assert_eq!(offered(&server).as_deref(), Some("not-listed"));
    assert!(warning(&server).as_str().unwrap().contains("publish the root first"));
    let instance = server.admin_json("GET", "/api/apps/keelson/instances/m", "");
    assert!(instance["grant"].is_null(), "{instance}");
    targets::ensure_root(&server, &release);
    let root = newest_root(&server).unwrap();
    let mut empty = listing.clone();
    empty.targets.clear();
    assert_eq!(publish(&server, &targets::signed(&empty, &root, &release)).status, 200);
    assert_eq!(offered(&server).as_deref(), Some("not-listed"));
    assert_eq!(warning(&server), "targets.json version 1 does not list version 2.0.0 for amd64-usr");
    assert_eq!(current(&server), None);
    let mut full = listing;
    full.header.version = 2.try_into().unwrap();
    assert_eq!(publish(&server, &targets::signed(&full, &root, &release)).status, 200);
    assert_eq!((offered(&server), warning(&server)), (None, Value::Null));
    let instance = server.admin_json("GET", "/api/apps/keelson/instances/m", "");
    assert_eq!(instance["grant"]["version"], "2.0.0");
    assert_eq!(current(&server).unwrap().version, version("2.0.0"));
}
