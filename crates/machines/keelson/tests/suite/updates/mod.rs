//! Channels from an operator's view: a server, a release's folder, and commands.

mod images;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use release::{Blob, Digest, Image, Images, Payload, Release, SCHEMA, SEGMENTS, Verity};
use release_folder::{SigningKey, copy_roots, create_unencrypted, latest_complete, load_targets};
use serde_json::Value;
use sha2::Digest as _;
use tuf::ListedSigner;
use update_core::repository::{add_release, next_targets};

use crate::support::{keelson, serve_updates};

/// Below the home directory.
const KEYS: &str = ".config/keelson/keys";
const APP: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, arguments: &[&str]) -> Self {
        let (child, url) = serve_updates(folder, arguments);
        Self { child, address: url.trim_start_matches("http://").trim_end_matches('/').to_owned() }
    }

    /// The response to a machine's update check.
    fn check(&self, machine: &str, version: &str) -> String {
        let body = format!(
            "<request protocol=\"3.0\"><app appid=\"{APP}\" version=\"{version}\" track=\"alpha\" \
             machineid=\"{machine}\" board=\"amd64-usr\"><updatecheck/></app></request>"
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!("POST /v1/update/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs a command against the server; returns exit code, stdout and stderr.
fn run(folder: &Path, server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let url = format!("http://{}", server.address);
    let output = keelson(folder).env("KEELSON_UPDATE_SERVER", url).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn done(folder: &Path, server: &Server, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(folder, server, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    stdout
}

fn write_release(folder: &Path, version: &str) {
    std::fs::create_dir(folder).unwrap();
    let blob = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).unwrap();
        let sha256 = Digest(sha2::Sha256::digest(bytes).into());
        Blob { url: name.parse().unwrap(), size: bytes.len() as u64, sha256 }
    };
    let image = || Image { size: 4096, sha256: Digest([1; 32]) };
    let uuid = "00112233-4455-6677-8899-aabbccddeeff".to_owned();
    let release = Release {
        schema: SCHEMA,
        appid: APP.into(),
        board: "amd64-usr".into(),
        channels: vec!["alpha".into(), "beta".into()],
        version: version.parse().unwrap(),
        epoch: 1,
        build_time: 1000,
        expires: 4_000_000_000,
        min_from: None,
        images: Images {
            usr: image(),
            verity: Verity { root_hash: Digest([2; 32]), salt: Digest([3; 32]), uuid },
            uki: image(),
        },
        full: Payload {
            blob: blob("usr.full", version.as_bytes()),
            index: blob("usr.full.index", b"index"),
            algo: SEGMENTS.into(),
        },
        deltas: Vec::new(),
        notes_url: None,
    };
    let bytes = release.to_bytes().unwrap();
    std::fs::write(folder.join("release.json"), &bytes).unwrap();
    list(folder, &release, &bytes);
}

/// Lists a release as `keelson release` does. The keys are where the server and `publish` find them.
fn list(folder: &Path, release: &Release, bytes: &[u8]) {
    let keys = folder.parent().unwrap().join(KEYS);
    if !keys.exists() {
        create_unencrypted(&keys, "own", 4_000_000_000).unwrap();
    }
    let root = latest_complete(&keys).unwrap().unwrap();
    let before = load_targets(&keys, &root).unwrap();
    let mut targets = next_targets(&root, before.as_ref()).unwrap();
    add_release(&mut targets, release, bytes).unwrap();
    let secret = SigningKey::read(&keys.join("release.key")).unwrap();
    let signer = ListedSigner::of(&root.roles.targets, &root.keys, secret.signer()).unwrap();
    let signed = tuf::sign(targets, &[&signer]).unwrap().to_bytes().unwrap();
    for folder in [folder, &keys] {
        std::fs::write(folder.join("targets.json"), &signed).unwrap();
    }
    copy_roots(&keys, folder).unwrap();
}

/// A second machine with the same release key publishes, and does not know what the first one published.
#[test]
fn two_machines_publish_with_one_release_key() {
    let [one, two] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    write_release(&one.path().join("2.0.0"), "2.0.0");
    folder_machine::copy(&one.path().join(KEYS), &two.path().join(KEYS));
    write_release(&one.path().join("3.0.0"), "3.0.0");
    let server = Server::start(one.path());
    for version in ["2.0.0", "3.0.0"] {
        done(one.path(), &server, &["publish", "--channel", "alpha", version]);
    }
    write_release(&two.path().join("4.0.0"), "4.0.0");
    let token = one.path().join(".local/state/keelson/updates/admin.token");
    let publish = ["publish", "--channel", "beta", "4.0.0", "--token-file", token.to_str().unwrap()];
    assert_eq!(done(two.path(), &server, &publish), "channel beta is at 4.0.0\n");
    let listed = |folder: &Path| {
        let root = latest_complete(&folder.join(KEYS)).unwrap().unwrap();
        let targets = load_targets(&folder.join(KEYS), &root).unwrap().unwrap().targets;
        targets.into_keys().filter_map(|path| Some(path.split('/').nth(2)?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(listed(two.path()), ["2.0.0", "3.0.0", "4.0.0"]);
    // The channel's target is signed, so the list of the server has it.
    done(one.path(), &server, &["channel", "set", "alpha", "2.0.0"]);
    assert!(server.check("m1", "1.0.0").contains("<manifest version=\"2.0.0\">"));
    // The first machine gets the list of the second one with its next publication.
    done(one.path(), &server, &["keys", "publish"]);
    assert_eq!(listed(one.path()), ["2.0.0", "3.0.0", "4.0.0"]);
}

#[test]
fn a_release_is_published_and_promoted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_release(&at.join("2.0.0"), "2.0.0");
    write_release(&at.join("3.0.0"), "3.0.0");
    let server = Server::start(at);
    let recorded = std::fs::read_to_string(at.join(".local/state/keelson/updates/url")).unwrap();
    assert_eq!(recorded, format!("http://{}/\n", server.address), "for up --channel on this host");
    let published: Value =
        serde_json::from_str(&done(at, &server, &["publish", "--channel", "alpha", "2.0.0", "--json"]))
            .unwrap();
    assert_eq!((&published["version"], &published["channel"]), (&"2.0.0".into(), &"alpha".into()));
    assert_eq!(done(at, &server, &["publish", "--channel", "alpha", "2.0.0"]), "channel alpha is at 2.0.0\n");
    assert!(server.check("m1", "1.0.0").contains("<manifest version=\"2.0.0\">"));
    done(at, &server, &["channel", "promote", "alpha", "beta"]);
    let list = done(at, &server, &["channel", "list"]);
    assert!(list.contains("beta     2.0.0") && list.contains("0/1"), "{list}");
    done(at, &server, &["publish", "--channel", "alpha", "3.0.0"]);
    done(at, &server, &["channel", "pause", "alpha", "--why", "it hangs"]);
    assert!(server.check("m1", "1.0.0").contains("keelson-reason=\"paused\""));
    assert!(done(at, &server, &["channel", "list"]).contains("it hangs"));
    done(at, &server, &["channel", "resume", "alpha"]);
    done(at, &server, &["channel", "set", "alpha", "2.0.0"]);
    let arguments =
        ["channel", "rollout", "alpha", "--percent", "0", "--wave", "60:10", "--wave", "120:100", "--json"];
    let policy: Value = serde_json::from_str(&done(at, &server, &arguments)).unwrap();
    assert_eq!((&policy["percent"], &policy["waves"][1]["percent"]), (&0.into(), &100.into()));
    assert!(server.check("m9", "1.0.0").contains("keelson-reason=\"not-in-share\""));
    assert!(done(at, &server, &["channel", "machines"]).contains("waiting for a later wave"));
    assert!(
        done(at, &server, &["channel", "activity"]).contains("channel alpha: 3.0.0 -> 2.0.0; machines with")
    );

    let failed = |arguments: &[&str], code: i32, expect: &str| {
        let (found, stdout, stderr) = run(at, &server, arguments);
        assert!(
            found == Some(code) && stdout.is_empty() && stderr.contains(expect),
            "{arguments:?}: {stderr}"
        );
    };
    failed(
        &["publish", "--channel", "stable", "2.0.0"],
        1,
        "error: cannot publish 2.0.0 to stable: version 2.0.0 is signed for alpha, beta",
    );
    failed(&["publish", "--channel", "alpha", "9.0.0"], 1, "version 9.0.0 for amd64 does not exist");
    failed(
        &["publish", "--channel", "alpha", "none"],
        2,
        "neither a folder that contains release.json nor a version",
    );
    failed(&["channel", "promote", "gamma", "beta"], 1, "channel gamma does not exist");
    failed(&["channel", "rollout", "alpha", "--window", "Mon 1:00-2:00"], 1, "need a timezone");
    failed(&["channel", "rollout", "alpha", "--wave", "x"], 1, "invalid wave");
    failed(&["channel", "list", "--token-file", "none"], 1, "cannot read the token none");
    failed(&["channel", "list", "--server", "http://127.0.0.1:1"], 1, "cannot reach the channel server");
}

/// The address is not routed: the command fails before it sends anything.
#[test]
fn a_token_is_not_sent_in_plain_text_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("token"), "0123456789abcdef").unwrap();
    let list = |server: &str| {
        let mut command = keelson(at);
        command.args(["channel", "list", "--json", "--token-file", "token", "--server", server]);
        let output = command.output().unwrap();
        assert!(output.stdout.is_empty(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let warning = "warning: the admin token is sent to http://255.255.255.255:1 unencrypted";
    assert_eq!(list("http://255.255.255.255:1").matches(warning).count(), 1);
    assert!(!list("http://127.0.0.1:1").contains("warning"));
    assert!(!list("https://255.255.255.255:1").contains("warning"));
}

#[test]
fn a_server_of_a_network_without_tls_warns_once() {
    let folder = tempfile::tempdir().unwrap();
    let first_errors = |arguments: &[&str]| {
        let mut command = keelson(folder.path());
        command.arg("serve-updates").args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
        let read: Vec<String> = lines.by_ref().take_while(|line| !line.starts_with("Publish:")).collect();
        server.kill().unwrap();
        server.wait().unwrap();
        read.into_iter().chain(lines).filter(|line| line.contains("warning")).collect::<Vec<_>>()
    };
    let warned = first_errors(&["--listen", "0.0.0.0:0"]);
    assert!(warned.len() == 1 && warned[0].contains("accepts the admin token unencrypted"), "{warned:?}");
    assert_eq!(first_errors(&["--listen", "127.0.0.1:0"]), [""; 0]);
    let with_proxy = ["--listen", "0.0.0.0:0", "--public-url", "https://updates.example.net"];
    assert_eq!(first_errors(&with_proxy), [""; 0]);
}

/// A grant is on disk before its machine receives it, so a killed server keeps its limits.
#[test]
fn a_killed_server_exceeds_no_limit() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_release(&at.join("2.0.0"), "2.0.0");
    let server = Server::start(at);
    done(at, &server, &["publish", "--channel", "alpha", "2.0.0"]);
    done(at, &server, &["channel", "rollout", "alpha", "--at-once", "1"]);
    drop(server);
    for round in 0..5 {
        let server = Server::start(at);
        assert!(server.check("m1", "1.0.0").contains("<manifest"), "round {round}");
        drop(server);
        let server = Server::start(at);
        assert!(server.check("m2", "1.0.0").contains("keelson-reason=\"max-concurrent\""), "round {round}");
        done(at, &server, &["channel", "reset", "m1"]);
    }
}

/// Simulated machines print what `updateservicectl instance fake` printed.
#[test]
fn fake_machines_update() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_release(&at.join("2.0.0"), "2.0.0");
    let server = Server::start(at);
    let url = format!("http://{}/v1/update/", server.address);
    let arguments =
        ["fake-machines", "--url", &url, "--version", "1.0.0", "--min-sleep", "0.1", "--max-sleep", "0.1"];
    let mut fake = keelson(at).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(fake.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{fake-client-000}: noupdate");
    done(at, &server, &["publish", "--channel", "alpha", "2.0.0"]);
    let next = lines.by_ref().map(Result::unwrap).find(|line| !line.ends_with("noupdate"));
    assert_eq!(next.unwrap(), "{fake-client-000}: updated from 1.0.0 to 2.0.0");
    assert_eq!(lines.next().unwrap().unwrap(), "{fake-client-000}: noupdate");
    fake.kill().unwrap();
    fake.wait().unwrap();
    assert!(done(at, &server, &["channel", "machines", "--status", "complete"]).contains("2.0.0"));
    let arguments =
        ["fake-machines", "--url", &url, "--count", "50", "--load", "1", "--connections", "4", "--json"];
    let figures: Value = serde_json::from_str(&done(at, &server, &arguments)).unwrap();
    // The number of checks depends on the host's speed.
    assert!(figures["checks"].as_u64() >= Some(4) && figures["failed"] == 0, "{figures}");
}

/// The server accepts connections but does not respond.
#[test]
fn a_slow_server_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "secret\n").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut waits = keelson(folder.path())
        .args(["channel", "list", "--server", &url, "--token-file", "token"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(waits.stderr.take().unwrap()).read_line(&mut line).unwrap();
    waits.kill().unwrap();
    waits.wait().unwrap();
    assert!(line.contains(&format!("waiting for {url} (at most 10 min)")), "{line:?}");
}
