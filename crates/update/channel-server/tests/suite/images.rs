//! Image files of a channel's versions: published with them, and served to anybody.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use release::{Digest, ImageList};
use serde_json::{Value, json};
use tuf::TargetFile;
use update_core::repository::{images_target, next_targets};

use crate::support::images::{content, image_list};
use crate::support::repository::{ALPHA, current, rejected, version};
use crate::support::targets::{newest_root, publish, signed, stored};
use crate::support::{HttpReply, Server, keys, machine};

const RAW: &str = "keelson-2.0.0-alpha.raw.zst";
const CATALOG: &str = "/images/alpha/amd64-usr/coreos_production_vagrant.json";

fn get(server: &Server, path: &str) -> HttpReply {
    server.raw("GET", path, "", b"")
}

fn image(server: &Server, path: &str) -> HttpReply {
    get(server, &format!("/images/alpha/amd64-usr/{path}"))
}

fn versions(catalog: &Value) -> Vec<&str> {
    catalog["versions"].as_array().unwrap().iter().map(|one| one["version"].as_str().unwrap()).collect()
}

#[test]
fn image_files_are_served_with_ranges_under_both_names() {
    let (server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    server.publish_images("2.0.0", &["alpha"], &signer);
    let bytes = content(RAW);
    let etag = format!("\"{}\"", Digest::of(&bytes));
    for path in [
        format!("2.0.0/{RAW}"),
        format!("current/{RAW}"),
        "2.0.0/coreos_production_image.bin.zst".to_owned(),
        "current/coreos_production_image.bin.zst".to_owned(),
    ] {
        let reply = image(&server, &path);
        assert_eq!((reply.status, &reply.body), (200, &bytes), "{path}");
        assert_eq!(reply.header("etag"), Some(&*etag));
        let cache = reply.header("cache-control").unwrap();
        assert_eq!(cache.contains("no-cache"), path.starts_with("current"), "{path}: {cache}");
    }
    let path = format!("/images/alpha/amd64-usr/2.0.0/{RAW}");
    let part = server.raw("GET", &path, "Range: bytes=5-9\r\n", b"");
    assert_eq!((part.status, &*part.body), (206, &bytes[5..10]));
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 5-9/{}", bytes.len())));
    let head = server.raw("HEAD", &path, "", b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(&*bytes.len().to_string()));
    let other = server.raw("GET", &path, "Range: bytes=5-9\r\nIf-Range: \"x\"\r\n", b"");
    assert_eq!((other.status, other.body.len()), (200, bytes.len()));
    // The two names of CoreOS's box.
    for name in ["coreos_production_vagrant.box", "coreos_production_vagrant_virtualbox.box"] {
        let expected = content("keelson-2.0.0-alpha-vagrant-virtualbox.box");
        assert_eq!(image(&server, &format!("current/{name}")).body, expected);
    }
    let missing = image(&server, "current/coreos_production_image.bin.bz2");
    rejected(
        &missing,
        404,
        "version 2.0.0 has no such file for channel alpha; it has keelson-2.0.0-alpha.raw.zst",
    );
}

/// Shells source the one, and the tools of coreutils check the other.
#[test]
fn version_and_digests_have_the_syntax_of_the_original() {
    let (server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    server.publish_images("2.0.0", &["alpha"], &signer);
    for of in ["current", "2.0.0"] {
        let reply = image(&server, &format!("{of}/version.txt"));
        let script =
            format!("{}\necho $COREOS_BUILD.$COREOS_BRANCH.$COREOS_PATCH $COREOS_VERSION_ID", reply.text());
        let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "2.0.0 2.0.0\n", "{}", reply.text());
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "coreos_production_image.bin.zst";
    std::fs::write(folder.path().join(name), image(&server, &format!("current/{name}")).body).unwrap();
    let digests = image(&server, &format!("current/{name}.DIGESTS")).text();
    for tool in ["md5sum", "sha1sum", "sha512sum"] {
        let heading = format!("# {} HASH", tool.trim_end_matches("sum").to_uppercase());
        let (_, line) = digests.split_once(&format!("{heading}\n")).unwrap();
        let line = line.lines().next().unwrap();
        let mut check = Command::new(tool)
            .args(["--check", "--strict", "-"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(check.stdin.take().unwrap(), "{line}").unwrap();
        assert!(check.wait().unwrap().success(), "{tool}: {line}");
    }
}

#[test]
fn only_images_of_versions_that_the_channel_has_or_had_are_served() {
    let data = tempfile::tempdir().unwrap();
    let (mut server, signer) = (Server::open(data.path()), keys());
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        server.publish(version, "alpha", &signer);
        server.publish_images(version, &["alpha", "beta"], &signer);
    }
    server.publish("4.0.0", "beta", &signer);
    server.publish_images("4.0.0", &["alpha"], &signer);
    server.publish("5.0.0", "alpha", &signer);
    server.stop();
    server = Server::open(data.path());
    let raw = |channel: &str, of: &str| {
        let name = format!("keelson-{of}-{channel}.raw.zst");
        get(&server, &format!("/images/{channel}/amd64-usr/{of}/{name}"))
    };
    for of in ["1.0.0", "2.0.0", "3.0.0"] {
        assert_eq!(raw("alpha", of).status, 200, "{of}");
        rejected(&raw("beta", of), 404, &format!("channel beta has and had no version {of} for this board"));
    }
    rejected(&raw("alpha", "4.0.0"), 404, "channel alpha has and had no version 4.0.0 for this board");
    rejected(&raw("beta", "4.0.0"), 404, "version 4.0.0 has no images for channel beta");
    rejected(&raw("alpha", "5.0.0"), 404, "version 5.0.0 has no images for channel alpha");
    assert!(image(&server, "current/version.txt").text().contains("COREOS_VERSION=5.0.0\n"));
    // A version of another channel gets its own images there.
    server.admin_json("PUT", "/api/apps/keelson/channels/beta", r#"{"version":"2.0.0"}"#);
    assert_eq!(raw("beta", "2.0.0").body, content("keelson-2.0.0-beta.raw.zst"));
    let crossed = get(&server, &format!("/images/beta/amd64-usr/2.0.0/{RAW}"));
    rejected(&crossed, 404, "version 2.0.0 has no such file for channel beta");
    for path in [
        "/images/stable/amd64-usr/current/version.txt",
        "/images/none/amd64-usr/current/version.txt",
        "/images/alpha/arm64-usr/current/version.txt",
        "/images/alpha/other-usr/current/version.txt",
        "/images/alpha/amd64-usr/2.0.0/..%2f3.0.0%2fimages.json",
        "/images/alpha/amd64-usr/2.0.0/images.json",
        "/images/alpha/amd64-usr/x/version.txt",
        "/images/alpha/amd64-usr/other.json",
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    // Withdrawn: neither as a version, nor as the current one.
    server.admin_json("POST", "/api/apps/keelson/packages/5.0.0/ban", r#"{"why":"data loss"}"#);
    server.admin_json("POST", "/api/apps/keelson/packages/2.0.0/ban", r#"{"why":"CVE"}"#);
    rejected(&image(&server, "current/version.txt"), 404, "version 5.0.0 is withdrawn\n");
    rejected(&raw("alpha", "2.0.0"), 404, "version 2.0.0 is withdrawn\n");
    assert_eq!(versions(&get(&server, CATALOG).json()), ["3.0.0", "1.0.0"]);
    // Removed, with its files.
    let files = data.path().join("images/e96281a6-d1af-4bde-9a0a-97b76e56dc57/amd64/1.0.0");
    assert!(files.join("images.json").exists());
    server.admin_json("DELETE", "/api/apps/keelson/packages/1.0.0", "");
    assert!(!files.exists());
    assert_eq!(raw("alpha", "1.0.0").status, 404);
}

#[test]
fn a_catalog_lists_the_boxes_of_all_versions() {
    let (server, signer) = (Server::start(), keys());
    for version in ["1.0.0", "2.0.0-rc.1", "2.0.0+build", "2.0.0"] {
        server.publish(version, "alpha", &signer);
        server.publish_images(version, &["alpha"], &signer);
    }
    let reply = get(&server, CATALOG);
    assert_eq!(
        reply.header("content-type"),
        Some("application/json"),
        "Vagrant tells catalogs from boxes by it"
    );
    let catalog = reply.json();
    assert_eq!(catalog["name"], "coreos-alpha");
    // Versions of Ruby's gems, in their order, the newest one first.
    assert_eq!(versions(&catalog), ["2.0.0", "2.0.0-rc.1", "1.0.0"]);
    let (url, name) =
        (server.url("/images/alpha/amd64-usr/2.0.0"), "keelson-2.0.0-alpha-vagrant-libvirt.box");
    let expected = json!({
        "name": "libvirt", "url": format!("{url}/{name}"), "checksum_type": "sha256",
        "checksum": Digest::of(&content(name)), "architecture": "amd64", "default_architecture": true,
    });
    let providers = catalog["versions"][0]["providers"].as_array().unwrap();
    let names: Vec<_> = providers.iter().map(|provider| provider["name"].as_str().unwrap()).collect();
    assert_eq!((names, &providers[1]), (vec!["virtualbox", "libvirt"], &expected));
    let path = expected["url"].as_str().unwrap().strip_prefix(&server.url("")).unwrap().to_owned();
    assert_eq!(get(&server, &path).body, content(name));
    // Where CoreOS had it: in the folder of each version, and under the other name.
    let current = image(&server, "current/coreos_production_vagrant_virtualbox.json").json();
    assert_eq!(current, catalog);
    let one = image(&server, "1.0.0/coreos_production_vagrant.json").json();
    assert_eq!(versions(&one), ["1.0.0"]);
    // `vagrant box update` installs the newest version: a paused one is not listed.
    server.admin_json("POST", "/api/apps/keelson/groups/alpha/pause", r#"{"why":"it hangs"}"#);
    assert_eq!(versions(&get(&server, CATALOG).json()), ["2.0.0-rc.1", "1.0.0"]);
    assert_eq!(image(&server, "current/version.txt").status, 200);
    server.admin_json("POST", "/api/apps/keelson/groups/alpha/resume", "");
    assert_eq!(versions(&get(&server, CATALOG).json())[0], "2.0.0");
    let empty = get(&server, "/images/beta/amd64-usr/coreos_production_vagrant.json").json();
    assert_eq!((empty["name"].as_str(), versions(&empty).len()), (Some("coreos-beta"), 0));
}

#[test]
fn images_that_targets_do_not_list_are_refused() {
    let (server, signer) = (Server::start(), keys());
    let list = image_list("2.0.0", &["alpha"]);
    let bytes = list.to_bytes().unwrap();
    let send = |bytes: &[u8]| server.upload_image("2.0.0", "images.json", bytes);
    rejected(&send(&bytes), 404, "version 2.0.0 for amd64 does not exist");
    server.publish("2.0.0", "alpha", &signer);
    rejected(&server.send_images("2.0.0"), 409, "images.json is not uploaded yet");
    rejected(&server.upload_image("2.0.0", RAW, b"x"), 409, "images.json is not uploaded yet");
    rejected(&send(b"{}"), 400, "invalid images.json");
    let other = ImageList { board: "arm64-usr".to_owned(), ..list.clone() };
    rejected(&send(&other.to_bytes().unwrap()), 400, "board arm64-usr (aarch64), expected amd64");
    rejected(
        &send(&image_list("2.1.0", &["alpha"]).to_bytes().unwrap()),
        400,
        "version 2.1.0, expected 2.0.0",
    );
    assert_eq!(send(&bytes).status, 200);
    rejected(
        &server.send_images("2.0.0"),
        409,
        "targets.json version 1 does not list images of version 2.0.0",
    );
    server.list_images(&list, &signer);
    rejected(&server.send_images("2.0.0"), 409, &format!("{RAW} is not uploaded yet"));
    rejected(&server.upload_image("2.0.0", "other", b"x"), 400, "other is not a file of this release");
    rejected(&server.upload_image("2.0.0", RAW, &[7; 100_000]), 400, "bytes, expected");
    let mut changed = content(RAW);
    changed[0] ^= 1;
    rejected(&server.upload_image("2.0.0", RAW, &changed), 400, "has SHA-256");
    let sent = |server: &Server| server.admin_json("GET", "/api/apps/keelson/images/amd64/2.0.0", "");
    assert_eq!(sent(&server), json!({ "sent": ["images.json"], "published": false }));
    for file in &list.files {
        assert_eq!(
            server.upload_image("2.0.0", file.name.as_str(), &content(file.name.as_str())).status,
            200
        );
    }
    // A file that was changed after it was uploaded.
    let stored_file = server
        .data
        .join("image-uploads/e96281a6-d1af-4bde-9a0a-97b76e56dc57/amd64/2.0.0")
        .join(list.files[1].name.as_str());
    std::fs::write(&stored_file, "x").unwrap();
    rejected(&server.send_images("2.0.0"), 400, "has 1 bytes, expected");
    std::fs::write(&stored_file, content(list.files[1].name.as_str())).unwrap();
    assert_eq!(image(&server, &format!("2.0.0/{RAW}")).status, 404, "not before it is published");
    assert_eq!(server.send_images("2.0.0").status, 200);
    assert_eq!(server.send_images("2.0.0").status, 200, "idempotent");
    assert_eq!(sent(&server), json!({ "sent": [], "published": true }));
    let viewer = format!("Authorization: Bearer {}\r\n", server.viewer());
    assert_eq!(server.raw("POST", "/api/apps/keelson/packages/2.0.0/images", &viewer, b"").status, 403);
    // Immutable, and no metadata may lose or change them.
    let fewer = ImageList { files: list.files[..1].to_vec(), ..list.clone() }.to_bytes().unwrap();
    assert_eq!(send(&fewer).status, 200);
    rejected(&server.send_images("2.0.0"), 409, "already published with another images.json");
    let (root, published) = (newest_root(&server).unwrap(), stored(&server).unwrap());
    let path = images_target("amd64-usr", &version("2.0.0"));
    let mut next = next_targets(&root, Some(&published)).unwrap();
    next.targets.remove(&path);
    let why = format!("does not list published releases: {path}");
    rejected(&publish(&server, &signed(&next, &root, &signer)), 409, &why);
    next.targets.insert(path.clone(), TargetFile::of(&fewer));
    let why = format!("lists other digests of published releases: {path}");
    rejected(&publish(&server, &signed(&next, &root, &signer)), 409, &why);
}

/// Release keys that do not know the other build list its images.
#[test]
fn images_of_another_build_are_refused() {
    let (server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    for (list, why) in [
        (
            ImageList { root_hash: Digest([9; 32]), ..image_list("2.0.0", &["alpha"]) },
            "another build of version 2.0.0",
        ),
        (
            image_list("2.0.0", &["stable"]),
            "the images are for channel stable, the release is for alpha, beta",
        ),
    ] {
        let root = newest_root(&server).unwrap();
        let mut next = next_targets(&root, stored(&server).as_ref()).unwrap();
        let bytes = list.to_bytes().unwrap();
        next.targets.insert(images_target("amd64-usr", &version("2.0.0")), TargetFile::of(&bytes));
        assert_eq!(publish(&server, &signed(&next, &root, &signer)).status, 200);
        assert_eq!(server.upload_image("2.0.0", "images.json", &bytes).status, 200);
        rejected(&server.send_images("2.0.0"), 400, why);
    }
}

/// A machine that knows nothing of images updates as before, and a client finds their list by its digest.
#[test]
fn machines_and_clients_find_what_is_listed() {
    let (server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    let before = current(&server).unwrap();
    server.publish_images("2.0.0", &["alpha"], &signer);
    assert_eq!(current(&server).unwrap(), before);
    let offer = server.omaha(machine("m1", "1.0.0", "alpha"));
    assert_eq!(offer.apps[0].update_check.as_ref().unwrap().status, omaha::UpdateStatus::Ok);
    let bytes = image_list("2.0.0", &["alpha"]).to_bytes().unwrap();
    let path = |digest: &str| format!("/files/keelson/targets/releases/amd64-usr/2.0.0/{digest}.images.json");
    assert_eq!(get(&server, &path(&Digest::of(&bytes).to_string())).body, bytes);
    assert_eq!(get(&server, &path(&"00".repeat(32))).status, 404);
    let listed = server.admin_json("GET", "/api/apps/keelson/packages", "");
    assert_eq!(listed[0]["images"][0]["url"], format!("/images/alpha/amd64-usr/2.0.0/{RAW}"));
    server.admin_json("PUT", ALPHA, r#"{"version":null}"#);
    rejected(&image(&server, "current/version.txt"), 404, "channel alpha has no version");
    assert_eq!(image(&server, &format!("2.0.0/{RAW}")).status, 200, "it had this version");
}

/// Attack: clients that read nothing take all downloads of images. Machines get theirs.
#[test]
fn downloads_of_images_keep_no_machine_from_updating() {
    let (server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    let large = vec![7; 16 << 20];
    let mut list = image_list("2.0.0", &["alpha"]);
    list.files.truncate(1);
    (list.files[0].size, list.files[0].sha256) = (large.len() as u64, Digest::of(&large));
    server.list_images(&list, &signer);
    assert_eq!(server.upload_image("2.0.0", "images.json", &list.to_bytes().unwrap()).status, 200);
    assert_eq!(server.upload_image("2.0.0", RAW, &large).status, 200);
    assert_eq!(server.send_images("2.0.0").status, 200);
    let path = format!("/images/alpha/amd64-usr/2.0.0/{RAW}");
    let stalled: Vec<_> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let refused = server.raw("GET", &path, "Range: bytes=0-0\r\n", b"");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("10")));
    assert_eq!(server.raw("HEAD", &path, "", b"").status, 200);
    assert_eq!(get(&server, "/files/keelson/alpha/2.0.0/usr.full").status, 200);
    drop(stalled);
}

#[test]
fn files_on_another_server_are_redirected_to() {
    let (server, signer) = (Server::start(), keys());
    server.publish("2.0.0", "alpha", &signer);
    let list = image_list("2.0.0", &["alpha"]);
    server.list_images(&list, &signer);
    assert_eq!(server.upload_image("2.0.0", "images.json", &list.to_bytes().unwrap()).status, 200);
    let publish = |url: &str| {
        let body = json!({ "files_at": url }).to_string();
        server.as_admin("POST", "/api/apps/keelson/packages/2.0.0/images", &body)
    };
    rejected(&publish("ftp://x"), 400, "invalid files_at");
    assert_eq!(publish("https://cdn.example.net/2.0.0").status, 200);
    let reply = image(&server, "current/coreos_production_image.bin.zst");
    let expected = format!("https://cdn.example.net/2.0.0/{RAW}");
    assert_eq!((reply.status, reply.header("location")), (302, Some(&*expected)));
    rejected(&image(&server, &format!("2.0.0/{RAW}.DIGESTS")), 404, "no such file");
}
