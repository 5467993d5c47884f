//! Registries that break, lie, or want what is not theirs.
//!
//! Long because the cases share one image and the server of its variants.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oci_image::credentials::{Credentials, Login};
use oci_image::manifest::{Blob, Layer, Manifest};
use oci_image::media_type::{Compression, OCI_INDEX, OCI_MANIFEST};
use oci_image::signature::Trust;
use oci_image::{Digest, Platform, Reference};
use oci_store::{PullOptions, Pulled, RegistryOptions, Store, TrustPolicy};
use serde_json::json;

use crate::fake_server::{Reply, Request, Server, ok, redirect};
use crate::images::{chain, config, config_for, layer, listing, unpack_options};

/// Content by path.
#[derive(Clone)]
struct Image {
    files: BTreeMap<String, Vec<u8>>,
    manifest: Digest,
    config: String,
    layer: String,
    layer_bytes: Vec<u8>,
}

fn image() -> Image {
    let layers = [layer(&["f a 1"])];
    image_of(config(&layers), layers[0].clone())
}

fn image_of(config: Vec<u8>, layer: Vec<u8>) -> Image {
    let blob = |bytes: &[u8]| Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
    let layers = vec![Layer { blob: blob(&layer), compression: Compression::None }];
    let manifest = Manifest { config: blob(&config), layers }.to_json();
    let path = |bytes: &[u8]| format!("/v2/test/image/blobs/{}", Digest::of(bytes));
    let by_digest = format!("/v2/test/image/manifests/{}", Digest::of(&manifest));
    Image {
        config: path(&config),
        layer: path(&layer),
        layer_bytes: layer.clone(),
        manifest: Digest::of(&manifest),
        files: BTreeMap::from([
            ("/v2/".to_owned(), b"{}".to_vec()),
            ("/v2/test/image/manifests/1".to_owned(), manifest.clone()),
            (by_digest, manifest),
            (path(&config), config),
            (path(&layer), layer),
        ]),
    }
}

impl Image {
    fn reply(&self, request: &Request) -> Reply {
        match self.files.get(&request.path) {
            Some(bytes) => ok(bytes.clone()),
            None => Reply::Full(404, Vec::new(), Vec::new()),
        }
    }

    /// Serves the image, except where `other` has a reply.
    fn serve(&self, other: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static) -> Server {
        let image = self.clone();
        Server::start(move |request| other(request).unwrap_or_else(|| image.reply(request)))
    }
}

fn registry_options() -> RegistryOptions {
    RegistryOptions {
        http: true,
        progress_window: Duration::from_secs(60),
        min_bytes: 1,
        attempts: 2,
        pause: Duration::from_millis(1),
        ..RegistryOptions::default()
    }
}

fn pull_with(store: &Store, server: &Server, registry: RegistryOptions) -> Result<Pulled, String> {
    let options = PullOptions {
        platform: Platform::linux(std::env::consts::ARCH),
        trust: TrustPolicy::Insecure,
        minisign: Vec::new(),
        registry,
    };
    store.pull(&name(server), &options, &mut |_| ()).map_err(|error| chain(&error))
}

fn name(server: &Server) -> Reference {
    format!("{}/test/image:1", server.address).parse().unwrap()
}

fn open(folder: &Path) -> Store {
    Store::open(folder).unwrap()
}

/// `expected`: an excerpt of the error, after which the store has no image.
fn check(server: &Server, expected: Result<(), &str>) {
    check_with(registry_options(), server, expected);
}

fn check_with(options: RegistryOptions, server: &Server, expected: Result<(), &str>) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    match (pull_with(&store, server, options), expected) {
        (Ok(pulled), Ok(())) => {
            let tree = store.unpack(pulled.manifest, &unpack_options()).unwrap();
            assert_eq!(listing(&tree.rootfs()), ["f a 1"]);
        }
        (Err(error), Err(excerpt)) => {
            assert!(error.contains(excerpt), "{error}");
            assert_eq!(store.images().unwrap(), []);
        }
        (found, _) => panic!("{found:?}, expected {expected:?}"),
    }
}

/// A reply for one path.
fn at(path: &str, reply: Reply) -> impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static {
    let path = path.to_owned();
    move |request| (request.path == path).then(|| reply.clone())
}

#[test]
fn content_has_its_digest_and_length() {
    let image = image();
    check(&image.serve(|_| None), Ok(()));
    let length = image.layer_bytes.len();
    check(&image.serve(at(&image.layer, ok(vec![1; length]))), Err("the content has digest"));
    check(&image.serve(at(&image.layer, ok("short"))), Err("has 5 bytes, expected"));
    check(&image.serve(at(&image.layer, ok(vec![1; length + 1]))), Err("expected"));
    check(&image.serve(at(&image.layer, Reply::Endless)), Err("expected"));
    check(&image.serve(at(&image.config, ok("{}"))), Err("has 2 bytes, expected"));
    check(&image.serve(at(&image.layer, Reply::Full(404, Vec::new(), Vec::new()))), Err("HTTP status 404"));
    let short = Reply::Short(length, image.layer_bytes[..100].to_vec());
    check(&image.serve(at(&image.layer, short)), Err("disconnected"));
}

#[test]
fn manifests_are_bounded_and_checked() {
    let image = image();
    let manifest = "/v2/test/image/manifests/1";
    let with = |reply| image.serve(at(manifest, reply));
    check(&with(Reply::Endless), Err("more than 4194304 bytes"));
    check(&with(ok("<html>")), Err("no manifest"));
    let bytes = image.files[manifest].clone();
    let digest = |digest: Digest| vec![("Docker-Content-Digest", digest.to_string())];
    check(&with(Reply::Full(200, digest(Digest::of(&bytes)), bytes.clone())), Ok(()));
    check(&with(Reply::Full(200, digest(Digest::of(b"")), bytes.clone())), Err("the content has digest"));
    let typed = |kind: &str| vec![("Content-Type", kind.to_owned())];
    check(&with(Reply::Full(200, typed(OCI_MANIFEST), bytes.clone())), Ok(()));
    check(&with(Reply::Full(200, typed(OCI_INDEX), bytes)), Err("was announced as"));
    let unknown =
        json!({ "errors": [{ "code": "MANIFEST_UNKNOWN", "message": "manifest unknown\u{1b}[31m" }] });
    let unknown = unknown.to_string().into_bytes();
    check(
        &with(Reply::Full(404, Vec::new(), unknown)),
        Err("HTTP status 404 (MANIFEST_UNKNOWN: manifest unknown[31m)"),
    );
    check(&image.serve(at("/v2/", Reply::Full(404, Vec::new(), Vec::new()))), Err("is no registry"));
    check(&image.serve(at("/v2/", Reply::Full(503, Vec::new(), Vec::new()))), Err("HTTP status 503"));
}

#[test]
fn a_manifest_by_digest_is_that_one() {
    let image = image();
    let server = image.serve(|_| None);
    let folder = tempfile::tempdir().unwrap();
    let options = |registry| PullOptions {
        platform: Platform::linux(std::env::consts::ARCH),
        trust: TrustPolicy::Insecure,
        minisign: Vec::new(),
        registry,
    };
    let pull = |server: &Server, digest: Digest| {
        let name: Reference = format!("{}/test/image@{digest}", server.address).parse().unwrap();
        open(folder.path())
            .pull(&name, &options(registry_options()), &mut |_| ())
            .map_err(|error| chain(&error))
    };
    assert_eq!(pull(&server, image.manifest).unwrap().manifest, image.manifest);
    let other = Digest::of(b"other");
    let path = format!("/v2/test/image/manifests/{other}");
    let server = image.serve(at(&path, ok(image.files["/v2/test/image/manifests/1"].clone())));
    let error = pull(&server, other).unwrap_err();
    assert!(error.contains("the content has digest"), "{error}");
}

#[test]
fn layers_for_another_machine_are_not_transferred() {
    let bytes = layer(&["f a 1"]);
    let image = image_of(config_for("s390x", std::slice::from_ref(&bytes)), bytes);
    let server = image.serve(|_| None);
    check(&server, Err("is for linux/s390x, not for"));
    assert_eq!(server.requests_for(&image.layer).len(), 0);
    let entry = json!({
        "mediaType": OCI_MANIFEST, "digest": image.manifest, "size": 1,
        "platform": { "os": "linux", "architecture": "s390x" },
    });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
    check(&image.serve(at("/v2/test/image/manifests/1", ok(index))), Err("available: linux/s390x"));
}

#[test]
fn a_transfer_needs_progress() {
    let image = image();
    let check = |server: &Server, expected| {
        let options = RegistryOptions { progress_window: Duration::from_secs(1), ..registry_options() };
        check_with(options, server, expected);
    };
    check(&image.serve(at(&image.layer, Reply::Hang)), Err("timeout"));
    let length = image.layer_bytes.len();
    let stall = Reply::Stall(length, image.layer_bytes[..100].to_vec());
    check(&image.serve(at(&image.layer, stall)), Err("timeout"));
    check(&image.serve(at("/v2/test/image/manifests/1", Reply::Hang)), Err("timeout"));
}

/// Serves a file in parts: as many bytes as `part` from the requested offset.
fn in_parts(bytes: &[u8], part: usize, request: &Request) -> Reply {
    let range = request.header("range").map(|range| range.trim_start_matches("bytes=").trim_end_matches('-'));
    let offset: usize = range.map_or(0, |range| range.parse().unwrap());
    let end = (offset + part).min(bytes.len());
    let length = ("Content-Length", (bytes.len() - offset).to_string());
    let content = ("Content-Range", format!("bytes {offset}-{}/{}", bytes.len() - 1, bytes.len()));
    let (status, headers) = if offset > 0 { (206, vec![length, content]) } else { (200, vec![length]) };
    Reply::Full(status, headers, bytes[offset..end].to_vec())
}

#[test]
fn a_broken_transfer_resumes() {
    let image = image();
    let (path, bytes) = (image.layer.clone(), image.layer_bytes.clone());
    let part = bytes.len() / 4;
    let server = image.serve(move |request| (request.path == path).then(|| in_parts(&bytes, part, request)));
    check(&server, Ok(()));
    let ranges: Vec<_> = server
        .requests_for(&image.layer)
        .iter()
        .map(|request| request.header("range").map(str::to_owned))
        .collect();
    let expected = [None, Some(part), Some(2 * part), Some(3 * part)]
        .map(|offset| offset.map(|offset| format!("bytes={offset}-")));
    assert_eq!(ranges, expected);
    // The next process continues, too.
    let (path, bytes) = (image.layer.clone(), image.layer_bytes.clone());
    let server = image.serve(move |request| (request.path == path).then(|| in_parts(&bytes, part, request)));
    let folder = tempfile::tempdir().unwrap();
    let once = || RegistryOptions { attempts: 1, ..registry_options() };
    for _ in 0..3 {
        let error = pull_with(&open(folder.path()), &server, once()).unwrap_err();
        assert!(!error.contains("digest"), "{error}");
    }
    pull_with(&open(folder.path()), &server, once()).unwrap();
    assert_eq!(server.requests_for(&image.layer).len(), 4);
    // What is left after a power cut may be other bytes.
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let digest = Digest::of(&image.layer_bytes);
    let server = image.serve(|_| None);
    for left in [vec![0; 100], vec![0; image.layer_bytes.len()], vec![0; image.layer_bytes.len() + 1]] {
        std::fs::write(folder.path().join(format!("tmp/partial-{}", digest.hex())), left).unwrap();
        let pulled = pull_with(&store, &server, once()).unwrap();
        store.unpack(pulled.manifest, &unpack_options()).unwrap();
        store.remove(pulled.manifest).unwrap();
    }
    assert_eq!(listing(&folder.path().join("tmp")), [""; 0]);
}

#[test]
fn a_resumed_transfer_is_of_the_same_content() {
    let image = image();
    let half = image.layer_bytes.len() / 2;
    // A server without ranges, and one that sends another range.
    let check = |second: Reply, expected: Result<(), &str>| {
        let (path, first) = (image.layer.clone(), image.layer_bytes[..half].to_vec());
        let (count, length) = (Arc::new(AtomicUsize::new(0)), image.layer_bytes.len());
        let server = image.serve(move |request| {
            let is_first = request.path == path && count.fetch_add(1, Ordering::SeqCst) == 0;
            match (request.path == path, is_first) {
                (true, true) => Some(Reply::Short(length, first.clone())),
                (true, false) => Some(second.clone()),
                _ => None,
            }
        });
        check(&server, expected);
    };
    check(ok(image.layer_bytes.clone()), Ok(()));
    let range = |text: &str| vec![("Content-Range", text.to_owned())];
    let rest = image.layer_bytes[half..].to_vec();
    check(Reply::Full(206, range("bytes 0-1/2"), rest.clone()), Err("another range than requested"));
    check(Reply::Full(206, Vec::new(), rest), Err("another range than requested"));
    check(Reply::Full(416, Vec::new(), Vec::new()), Err("another range than requested"));
    let wrong = vec![7; image.layer_bytes.len() - half];
    check(Reply::Full(206, range(&format!("bytes {half}-9/10")), wrong), Err("the content has digest"));
}

#[test]
fn redirects_are_limited_and_keep_credentials() {
    let image = image();
    check(&image.serve(at(&image.layer, redirect(image.layer.clone()))), Err("redirected more than 5 times"));
    check(&image.serve(at(&image.layer, redirect("file:///etc/passwd"))), Err("no valid URL"));
    check(&image.serve(at(&image.layer, redirect(""))), Err("no valid URL"));
    let bytes = image.layer_bytes.clone();
    let storage = Server::start(move |_| ok(bytes.clone()));
    let target = format!("http://{}/storage?signature=SECRET", storage.address);
    let (layer, config) = (image.layer.clone(), image.config.clone());
    let moved = format!("{config}?moved");
    let config_bytes = image.files[&config].clone();
    let server = image.serve(move |request| match &request.path {
        _ if request.path == "/v2/" => None,
        _ if request.header("authorization").is_none() => {
            Some(Reply::Full(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".to_owned())], Vec::new()))
        }
        path if *path == layer => Some(redirect(&target)),
        path if *path == config => Some(redirect(&moved)),
        path if *path == moved => Some(ok(config_bytes.clone())),
        _ => None,
    });
    let login = Login { user: "user".to_owned(), password: "SECRET".to_owned() };
    let credentials = Credentials::single(&server.address.to_string(), login.clone());
    let folder = tempfile::tempdir().unwrap();
    let options = RegistryOptions { credentials, ..registry_options() };
    pull_with(&open(folder.path()), &server, options).unwrap();
    assert_eq!(storage.requests().len(), 1);
    assert_eq!(storage.requests()[0].header("authorization"), None);
    // A redirect to the same server keeps them.
    let moved = server.requests_for("?moved");
    assert_eq!(moved[0].header("authorization"), Some(login.basic().as_str()));
    // Without a login, the error has the next step.
    let error = pull_with(&open(folder.path()), &server, registry_options()).unwrap_err();
    assert!(error.contains("docker login") && !error.contains("SECRET"), "{error}");
}

/// A registry that wants a token of the server at `realm`.
fn with_token(image: &Image, realm: String) -> Server {
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s p\",scope=\"repository:other:push\"");
    image.serve(move |request| {
        let authorized = request.header("authorization") == Some("Bearer good");
        let refused = Reply::Full(401, vec![("WWW-Authenticate", challenge.clone())], Vec::new());
        (!authorized && !request.path.starts_with("/token")).then_some(refused)
    })
}

#[test]
fn a_token_server_elsewhere_gets_no_password() {
    let image = image();
    let tokens = Server::start(|_| ok(r#"{"token":"good"}"#));
    let server = with_token(&image, format!("http://{}/token?x=1", tokens.address));
    let login = Login { user: "user".to_owned(), password: "SECRET".to_owned() };
    let credentials = Credentials::single(&server.address.to_string(), login);
    let folder = tempfile::tempdir().unwrap();
    pull_with(&open(folder.path()), &server, RegistryOptions { credentials, ..registry_options() }).unwrap();
    let requests = tokens.requests();
    assert_eq!(requests.len(), 1, "one token for all requests");
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(requests[0].path, "/token?x=1&service=s+p&scope=repository%3Atest%2Fimage%3Apull");
}

#[test]
fn token_servers_are_checked() {
    let image = image();
    let check_reply = |reply: Reply, expected: Result<(), &str>| {
        let tokens = Server::start(move |_| reply.clone());
        check(&with_token(&image, format!("http://{}/token", tokens.address)), expected);
    };
    check_reply(ok(r#"{"access_token":"good"}"#), Ok(()));
    check_reply(ok(r#"{"token":"bad"}"#), Err("log in (docker login)"));
    check_reply(ok(r#"{"token":"a\r\nb"}"#), Err("no token"));
    check_reply(ok("{}"), Err("no token"));
    check_reply(ok("x"), Err("no token"));
    check_reply(Reply::Endless, Err("more than 262144 bytes"));
    check_reply(Reply::Full(403, Vec::new(), Vec::new()), Err("log in (docker login)"));
    check_reply(Reply::Full(500, Vec::new(), Vec::new()), Err("HTTP status 500"));
    check(&with_token(&image, "ftp://a/token".to_owned()), Err("without a valid URL"));
    let digest = Reply::Full(401, vec![("WWW-Authenticate", "Digest realm=\"x\"".to_owned())], Vec::new());
    check(&image.serve(at(&image.layer, digest)), Err("unsupported kind of authentication"));
}

#[test]
fn the_size_of_an_image_is_limited() {
    let image = image();
    let server = image.serve(|_| None);
    let folder = tempfile::tempdir().unwrap();
    let options = RegistryOptions { bytes: 100, ..registry_options() };
    let error = pull_with(&open(folder.path()), &server, options).unwrap_err();
    assert!(error.contains("at most 100 are accepted"), "{error}");
    assert_eq!(server.requests_for("/blobs/").len(), 0);
}

#[test]
fn plain_http_is_used_only_if_permitted() {
    let server = image().serve(|_| None);
    let folder = tempfile::tempdir().unwrap();
    let options = RegistryOptions { http: false, ..registry_options() };
    let error = pull_with(&open(folder.path()), &server, options).unwrap_err();
    assert!(error.contains(&format!("https://{}/v2/", server.address)), "{error}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn an_image_without_signature_is_refused_before_its_layers() {
    let image = image();
    let server = image.serve(|_| None);
    let mut trust = Trust::default();
    let key = minisign::KeyPair::generate_unencrypted_keypair().unwrap().pk.to_base64();
    trust.add(&server.address.to_string(), "a.pub", &key).unwrap();
    let options = PullOptions {
        platform: Platform::linux(std::env::consts::ARCH),
        trust: TrustPolicy::Require(&trust),
        minisign: Vec::new(),
        registry: registry_options(),
    };
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path()).pull(&name(&server), &options, &mut |_| ()).unwrap_err();
    assert!(chain(&error).contains("has no signature"), "{}", chain(&error));
    assert_eq!(server.requests_for("/blobs/").len(), 0);
}
