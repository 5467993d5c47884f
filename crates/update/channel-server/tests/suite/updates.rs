//! From an uploaded release to an updated machine, over real sockets.

use channel_server::{NoRelease, ReleaseFolderError, release_folder};
use omaha::{AppStatus, CheckResponse, Event, EventResult, EventType, UpdateStatus};
use sha2::Digest as _;

use crate::support::targets::{ensure_root, list, stored};
use crate::support::{Server, keys, machine, payload, write_release};

/// Fetches the files of an offer and verifies every digest, as the agent does.
fn fetch_and_verify(server: &Server, response: &omaha::Response) -> String {
    let CheckResponse::Update(offer) = response.check_response().unwrap() else {
        panic!("no offer: {response:?}")
    };
    let base = offer.urls[0].strip_prefix(&server.url("")).unwrap().to_owned();
    let get = |name: &str| {
        let reply = server.raw("GET", &omaha::file_url(&base, name), "", b"");
        assert_eq!(reply.status, 200, "{name}");
        if let Some(package) =
            offer.additional.iter().chain([offer.payload]).find(|package| package.name == name)
        {
            let digest: [u8; 32] = sha2::Sha256::digest(&reply.body).into();
            assert_eq!(reply.body.len() as u64, package.size);
            assert_eq!(package.sha256, Some(omaha::Sha256(digest)), "{name}");
        }
        reply.body
    };
    let bytes = get("release.json");
    let release = release::Release::parse(&bytes).unwrap();
    let path = update_core::repository::release_target(&release.board, &release.version);
    stored(server).unwrap().targets[&path].verify(&bytes).unwrap();
    assert_eq!(offer.payload.name, release.full.blob.url.as_str());
    assert_eq!(get(&offer.payload.name), payload(offer.version));
    for blob in release.blobs() {
        assert_eq!(get(blob.url.as_str()).len() as u64, blob.size);
    }
    offer.version.to_owned()
}

#[test]
fn a_release_is_published_offered_fetched_and_reported() {
    let (server, signer) = (Server::start(), keys());
    let first = server.omaha(machine("m1", "1.0.0", "alpha"));
    assert_eq!(first.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("no-package"));
    server.publish("2.0.0", "alpha", &signer);
    let offered = server.omaha(machine("m1", "1.0.0", "alpha"));
    assert_eq!(fetch_and_verify(&server, &offered), "2.0.0");
    for kind in [EventType::DOWNLOAD_STARTED, EventType::DOWNLOAD_FINISHED, EventType::UPDATE_COMPLETE] {
        let mut request = machine("m1", "1.0.0", "alpha");
        (request.ping, request.update_check) = (false, false);
        request.events = vec![Event::new(kind, EventResult::SUCCESS)];
        let response = server.omaha(request);
        assert_eq!(
            (response.apps[0].ping, response.apps[0].events, &response.apps[0].update_check),
            (false, 1, &None)
        );
    }
    let instance = |id: &str| server.admin_json("GET", &format!("/api/apps/keelson/instances/{id}"), "");
    assert_eq!(instance("m1")["status"], "installed");
    let mut request = machine("m1", "2.0.0", "alpha");
    request.events = vec![Event::rebooted("1.0.0")];
    let response = server.omaha(request);
    assert_eq!(response.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("up-to-date"));
    assert_eq!(
        (instance("m1")["status"].as_str(), instance("m1")["ip"].as_str()),
        (Some("complete"), Some("127.0.0.1"))
    );
    // Promoted to the next channel: the same files, another timestamp.
    let promoted =
        server.admin_json("POST", "/api/apps/keelson/channels/beta/promote", r#"{"from":"alpha"}"#);
    assert_eq!(promoted["version"], "2.0.0");
    let beta = server.omaha(machine("m2", "1.0.0", "beta"));
    assert!(matches!(beta.check_response(), Ok(CheckResponse::Update(_))));
    // The release is signed for alpha and beta only.
    let rejected =
        server.as_admin("POST", "/api/apps/keelson/channels/stable/promote", r#"{"from":"alpha"}"#);
    assert_eq!(rejected.status, 409);
    assert!(rejected.text().contains("2.0.0 is not signed for channel stable"), "{}", rejected.text());
    let metrics = server.raw("GET", "/metrics", "", b"").text();
    for line in [
        "keelson_updates_machines{app=\"keelson\",group=\"alpha\",version=\"2.0.0\"} 1",
        "keelson_updates_checks_total{answer=\"update\"} 2",
        "keelson_updates_events_total{event=\"complete\"} 1",
        "keelson_updates_attempted{app=\"keelson\",group=\"alpha\"} 1",
        "keelson_updates_succeeded{app=\"keelson\",group=\"alpha\"} 1",
        "keelson_updates_failed{app=\"keelson\",group=\"alpha\"} 0",
        "keelson_updates_timed_out{app=\"keelson\",group=\"alpha\"} 0",
        "keelson_updates_in_progress{app=\"keelson\",group=\"beta\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn grants_survive_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let signer = keys();
    let mut server = Server::open(data.path());
    server.publish("2.0.0", "alpha", &signer);
    server.admin_json("PUT", "/api/apps/keelson/groups/alpha/policy", r#"{"max_in_progress":1}"#);
    assert!(matches!(
        server.omaha(machine("m1", "1.0.0", "alpha")).check_response(),
        Ok(CheckResponse::Update(_))
    ));
    let token = server.admin();
    server.stop();
    let server = Server::open(data.path());
    assert_eq!(server.admin(), token);
    let second = server.omaha(machine("m2", "1.0.0", "alpha"));
    assert_eq!(second.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("max-concurrent"));
    assert_eq!(fetch_and_verify(&server, &server.omaha(machine("m1", "1.0.0", "alpha"))), "2.0.0");
    let response = server.admin_json("GET", "/api/activity", "");
    assert!(
        response
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["text"] == "channel alpha: no version -> 2.0.0")
    );
}

/// The operator may not know that older machines must install the version first.
#[test]
fn a_ban_lists_the_channels_with_the_version_as_floor() {
    let (server, signer) = (Server::start(), keys());
    for version in ["2.0.0", "3.0.0"] {
        server.publish(version, "alpha", &signer);
    }
    server.admin_json("PUT", "/api/apps/keelson/channels/alpha/floors/2.0.0", "");
    let banned = server.admin_json("POST", "/api/apps/keelson/packages/2.0.0/ban", r#"{"why":"it hangs"}"#);
    assert_eq!(banned["floor_of"], serde_json::json!(["alpha"]));
    let stopped = server.omaha(machine("m1", "1.0.0", "alpha"));
    assert_eq!(stopped.apps[0].update_check.as_ref().unwrap().reason.as_deref(), Some("banned"));
}

/// No rollout policy applies to provisioning.
#[test]
fn the_release_folder_of_a_channel_is_found() {
    let (mut server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    server.admin_json("POST", "/api/apps/keelson/groups/alpha/pause", r#"{"why":"a test"}"#);
    // The response warns that a paused group does not get the version.
    let pointed = server.admin_json("PUT", "/api/apps/keelson/channels/alpha", r#"{"version":"2.0.0"}"#);
    assert_eq!(pointed["paused"][0]["group"], "alpha");
    assert_eq!(pointed["paused"][0]["why"], "a test");
    // A process can open an LMDB environment only once.
    server.stop();
    let release_folder = |channel: &str, version: Option<&str>| {
        let version = version.map(|version| version.parse().unwrap());
        release_folder(&server.data, "keelson", channel, version.as_ref())
    };
    let folder = release_folder("alpha", None).unwrap();
    assert!(folder.join("release.json").is_file(), "{}", folder.display());
    assert_eq!(release_folder("stable", Some("2.0.0")).unwrap(), folder);
    assert!(matches!(
        release_folder("stable", None),
        Err(ReleaseFolderError::NoRelease(NoRelease::Empty(_)))
    ));
    assert!(matches!(
        release_folder("gamma", None),
        Err(ReleaseFolderError::NoRelease(NoRelease::Channel { .. }))
    ));
    assert!(matches!(release_folder("stable", Some("3.0.0")), Err(ReleaseFolderError::NoRelease(_))));
}

#[test]
fn a_download_resumes_with_a_range() {
    let server = Server::start();
    server.publish("2.0.0", "alpha", &keys());
    let (path, whole) = ("/files/keelson/alpha/2.0.0/usr.full", payload("2.0.0"));
    let head = server.raw("HEAD", path, "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(&*whole.len().to_string()));
    let tag = head.header("etag").unwrap().to_owned();
    let rest = server.raw("GET", path, &format!("Range: bytes=100000-\r\nIf-Range: {tag}\r\n"), b"");
    assert_eq!((rest.status, &rest.body[..]), (206, &whole[100_000..]));
    let expect = format!("bytes 100000-{}/{}", whole.len() - 1, whole.len());
    assert_eq!(rest.header("content-range"), Some(&*expect));
    let other = server.raw("GET", path, "Range: bytes=100000-\r\nIf-Range: \"other\"\r\n", b"");
    assert_eq!((other.status, other.body), (200, whole.clone()), "another file is sent from its beginning");
    let outside = server.raw("GET", path, &format!("Range: bytes={}-\r\n", whole.len()), b"");
    assert_eq!(
        (outside.status, outside.header("content-range")),
        (416, Some(&*format!("bytes */{}", whole.len())))
    );
    for missing in [
        "/files/keelson/alpha/2.0.0/other",
        "/files/keelson/alpha/2.0.0/..%2f..%2frelease.json",
        "/files/keelson/alpha/../../admin.token",
        "/files/keelson/alpha/3.0.0/usr.full",
        "/files/keelson/gamma/2.0.0/usr.full",
        "/files/other/alpha/2.0.0/usr.full",
        "/files/keelson/alpha/2.0.0/release.json.sig",
        "/files/keelson/alpha/timestamp.json",
        "/files/keelson/alpha/release.json",
    ] {
        assert_eq!(server.raw("GET", missing, "", b"").status, 404, "{missing}");
    }
}

#[test]
fn files_that_do_not_match_the_signed_metadata_are_rejected() {
    let (server, signer) = (Server::start(), keys());
    let folder = tempfile::tempdir().unwrap();
    write_release(folder.path(), "2.0.0");
    let token = format!("Authorization: Bearer {}\r\n", server.admin());
    let put = |name: &str, bytes: &[u8]| {
        let reply =
            server.raw("PUT", &format!("/api/apps/keelson/uploads/amd64/2.0.0/{name}"), &token, bytes);
        (reply.status, reply.text())
    };
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let publish =
        || server.as_admin("POST", "/api/apps/keelson/packages", r#"{"version":"2.0.0","arch":"amd64"}"#);
    ensure_root(&server, &signer);
    list(&server, folder.path(), &signer);
    assert!(put("usr.full", b"x").1.contains("release.json is not uploaded yet"));
    assert_eq!(put("release.json", &read("release.json")).0, 200);
    assert!(put("other", b"x").1.contains("other is not a file of this release"));
    let mut wrong = read("usr.full");
    wrong[5] ^= 1;
    assert!(put("usr.full", &wrong).1.contains("usr.full has SHA-256"));
    let short = put("usr.full", &wrong[1..]).1;
    assert!(
        short.contains(&format!("usr.full has {} bytes, expected {}", wrong.len() - 1, wrong.len())),
        "{short}"
    );
    wrong.push(0);
    assert!(put("usr.full", &wrong).1.contains("bytes, expected"));
    assert_eq!((publish().status, publish().text().contains("usr.full is not uploaded yet")), (409, true));
    assert_eq!(put("usr.full", &read("usr.full")).0, 200);
    assert_eq!(put("usr.full.index", &read("usr.full.index")).0, 200);
    let uploaded = server.admin_json("GET", "/api/apps/keelson/uploads/amd64/2.0.0", "");
    assert_eq!(uploaded["sent"].as_array().unwrap().len(), 3);
    assert_eq!(publish().status, 200);
    assert_eq!(publish().status, 200, "once more is fine");
    // Another `release.json` for the same version is rejected.
    write_release(folder.path(), "2.0.0");
    let mut text = String::from_utf8(read("release.json")).unwrap();
    text = text.replace("\"epoch\": 1", "\"epoch\": 2");
    assert_eq!(put("release.json", text.as_bytes()).0, 200);
    let rejected = publish();
    assert_eq!((rejected.status, rejected.text().contains("published versions are immutable")), (409, true));
    // A version in a channel cannot be removed.
    server.admin_json("PUT", "/api/apps/keelson/channels/alpha", r#"{"version":"2.0.0"}"#);
    assert_eq!(server.as_admin("DELETE", "/api/apps/keelson/packages/2.0.0", "").status, 409);
    server.admin_json("PUT", "/api/apps/keelson/channels/alpha", r#"{"version":null}"#);
    server.admin_json("DELETE", "/api/apps/keelson/packages/2.0.0", "");
    assert!(!server.data.join("releases/e96281a6-d1af-4bde-9a0a-97b76e56dc57/amd64/2.0.0").exists());
}

#[test]
fn invalid_requests_are_rejected() {
    let server = Server::start();
    for path in ["/v1/update", "/v1/update/"] {
        let good = omaha::Request { apps: vec![machine("m", "1.0.0", "alpha")], ..omaha::Request::default() };
        assert_eq!(server.raw("POST", path, "", good.write().as_bytes()).status, 200);
        assert_eq!(server.raw("POST", path, "", b"<request").status, 400);
        assert_eq!(
            server.raw("POST", path, "", b"<!DOCTYPE a [<!ENTITY b 'c'>]><request protocol='3.0'/>").status,
            400
        );
        let large = server.raw("POST", path, "", &vec![b' '; (64 << 10) + 1]);
        assert_eq!((large.status, large.body.len()), (400, 0));
        assert_eq!(server.raw("GET", path, "", b"").status, 405);
    }
    let mut other = machine("m", "1.0.0", "alpha");
    other.app_id = "{00000000-0000-0000-0000-000000000000}".into();
    let response = server.omaha(other);
    assert_eq!(response.apps[0].status, AppStatus::UnknownApplication);
    assert_eq!(response.apps[0].update_check.as_ref().unwrap().status, UpdateStatus::Internal);
    let response = server.omaha(machine("m", "1.0.0", "nightly"));
    assert_eq!(response.apps[0].status, AppStatus::UnknownApplicationOrGroup);
}

#[test]
fn reading_requires_a_token_and_changing_the_administrators() {
    let server = Server::start();
    let with = |token: &str, method: &str, path: &str, body: &str| {
        server.raw(method, path, &format!("Authorization: Bearer {token}\r\n"), body.as_bytes()).status
    };
    let (admin, viewer) = (server.admin(), server.viewer());
    assert_eq!(server.raw("GET", "/api/apps", "", b"").status, 401);
    assert_eq!(with("x", "GET", "/api/apps", ""), 401);
    assert_eq!(with(&viewer, "GET", "/api/apps", ""), 200);
    for (method, path, body) in [
        ("POST", "/api/apps/keelson/groups/alpha/pause", ""),
        ("PUT", "/api/apps/keelson/uploads/amd64/2.0.0/release.json", "{}"),
        ("DELETE", "/api/apps/keelson/groups/alpha", ""),
    ] {
        assert_eq!(with(&viewer, method, path, body), 403, "{path}");
        assert_eq!(server.raw(method, path, "", body.as_bytes()).status, 401, "{path}");
    }
    assert_eq!(with(&admin, "POST", "/api/apps/keelson/groups/alpha/pause", ""), 200);
    for (path, body) in [("pause", "{\"whi\":\"x\"}"), ("policy", "{\"percent\":101}")] {
        let method = if path == "policy" { "PUT" } else { "POST" };
        assert_eq!(with(&admin, method, &format!("/api/apps/keelson/groups/alpha/{path}"), body), 400);
    }
    assert_eq!(with(&admin, "POST", "/api/apps/keelson/groups/gamma/pause", ""), 404);
    for open in ["/health", "/config", "/metrics", "/"] {
        let reply = server.raw("GET", open, "", b"");
        assert_eq!(reply.status, 200, "{open}");
        assert!(!reply.text().contains(&admin) && !reply.text().contains(&viewer));
    }
}

#[test]
fn a_folder_is_locked_and_damage_is_detected() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::open(data.path());
    let open = || {
        let app = rollout::App { id: crate::support::APP.into(), name: "K".into(), product_id: None };
        let settings =
            channel_server::Settings { data: data.path().into(), public_url: None, key: None, app };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let opened = runtime.block_on(channel_server::Server::open(settings));
        opened.map(drop).map_err(|error| format!("{error:?}"))
    };
    assert!(open().unwrap_err().contains("InUse"));
    server.stop();
    let path = data.path().join("database/data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).rposition(|nine| nine == b"\"Keelson\"").unwrap();
    bytes[at + 1] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = open().unwrap_err();
    assert!(error.contains("Damaged") && error.contains("checksum"), "{error}");
}
