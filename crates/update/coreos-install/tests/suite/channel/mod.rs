//! Installs from a real channel server, with faults between both.

mod proxy;
#[allow(dead_code, reason = "the server's own tests use more of it")]
#[path = "../../../../channel-server/tests/suite/support/mod.rs"]
mod support;

use std::fs;

use minisign::{KeyPair, SecretKeyBox};
use proxy::{Fault, Proxy};
use release::{Digest, ImageFile, ImageList, SCHEMA};
use support::{APP, Server};
use tuf::{Date, ListedSigner, Signed, Timestamp};

use crate::bench::{Bench, CONFIG, with_root_hash};

/// What the releases of `support` have.
const ROOT_HASH: Digest = Digest([2; 32]);

/// A machine, its channel server and what is between them.
struct Lab {
    bench: Bench,
    server: Server,
    keys: KeyPair,
    proxy: Proxy,
}

impl Lab {
    /// Channel beta has version 4.0.0, and had 3.0.0.
    fn new() -> Self {
        let (server, keys) = (Server::start(), support::keys());
        let (bench, proxy) = (Bench::new(), Proxy::of(server.address()));
        let lab = Self { bench, server, keys, proxy };
        for version in ["3.0.0", "4.0.0"] {
            lab.server.publish(version, "beta", &lab.keys);
            lab.publish_image(version, "", &lab.bench.image);
        }
        let release = format!(
            "COREOS_RELEASE_VERSION=3.2.1\nCOREOS_RELEASE_BOARD=amd64-usr\nCOREOS_RELEASE_APPID={APP}\n"
        );
        lab.bench.put("root/usr/share/coreos/release", release);
        let conf = format!("GROUP=beta\nSERVER={}/v1/update/\n", lab.proxy.url);
        lab.bench.put("root/etc/coreos/update.conf", conf);
        let root = lab.server.raw("GET", "/files/keelson/metadata/1.root.json", "", b"").body;
        lab.bench.put("root/usr/share/keelson/keys/root.json", root);
        lab
    }

    /// Lists, uploads and publishes an image of a published version.
    fn publish_image(&self, version: &str, oem: &str, image: &[u8]) {
        let name = format!("keelson-{version}-beta{oem}.raw.zst");
        let bytes = zstd::encode_all(image, 1).unwrap();
        let file = ImageFile {
            name: name.parse().unwrap(),
            channel: "beta".to_owned(),
            format: "raw.zst".to_owned(),
            size: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            virtual_size: image.len() as u64,
        };
        let version_number = version.parse().unwrap();
        let list = ImageList {
            schema: SCHEMA,
            board: "amd64-usr".to_owned(),
            version: version_number,
            root_hash: ROOT_HASH,
            files: vec![file],
        };
        self.server.list_images(&list, &self.keys);
        for (name, bytes) in [("images.json", &*list.to_bytes().unwrap()), (&*name, &*bytes)] {
            let reply = self.server.upload_image(version, name, bytes);
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let reply = self.server.send_images(version);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// A timestamp that expired, signed by the server's key.
    fn expired_timestamp(&self) -> Vec<u8> {
        let mut timestamp = support::repository::timestamp(&self.server);
        timestamp.header.expires = Date::from_unix(support::targets::now() - 60).unwrap();
        let secret = fs::read_to_string(self.server.data.join("online.key")).unwrap();
        let secret = SecretKeyBox::from_string(&secret).unwrap().into_unencrypted_secret_key().unwrap();
        let key = tuf::Ed25519Signer::from_seed(&secret.to_bytes()[62..94]).unwrap();
        let root = support::targets::newest_root(&self.server).unwrap();
        let listed = ListedSigner::of(&root.roles.timestamp, &root.keys, &key).unwrap();
        let signed: Signed<Timestamp> = tuf::sign(timestamp, &[&listed]).unwrap();
        signed.to_bytes().unwrap()
    }
}

#[test]
fn the_channel_s_version_is_installed_or_the_one_that_is_named() {
    let lab = Lab::new();
    let check = |flags: &[&str], version: &str| {
        lab.bench.empty_disk();
        let printed = lab.bench.succeeds(&[&["-d", "disk", "-c", "config.yml"], flags].concat());
        let success = format!("Success! Keelson beta {version} is installed on disk");
        assert_eq!(printed.lines().last(), Some(&*success), "{printed}");
        let image = format!("Downloading, writing and verifying keelson-{version}-beta.raw.zst...");
        assert!(printed.contains(&image), "{printed}");
        lab.bench.is_installed(Some(CONFIG));
        printed
    };
    let printed = check(&["-C", "beta"], "4.0.0");
    assert!(printed.starts_with("Current version of Keelson beta is 4.0.0\n"), "{printed}");
    check(&["-V", "beta"], "4.0.0");
    check(&["-V", "current"], "4.0.0");
    check(&["-V", "3.0.0"], "3.0.0");
    // The server's own URL as a mirror's: verified by the same metadata, without a key.
    let base = format!("{}/images/beta/amd64-usr/", lab.proxy.url);
    check(&["-V", "current", "-b", &base], "4.0.0");
    lab.bench.succeeds(&["-D", "-V", "3.0.0"]);
    let downloaded = fs::read(lab.bench.path("keelson-3.0.0-beta.raw.zst")).unwrap();
    assert!(zstd::decode_all(&*downloaded).unwrap() == lab.bench.image);
}

#[test]
fn a_truncated_transfer_is_resumed() {
    let lab = Lab::new();
    lab.proxy.set(Fault::Truncated(2));
    lab.bench.succeeds(&["-d", "disk", "-V", "current"]);
    lab.bench.is_installed(None);
    let ranges = lab.proxy.ranges();
    assert!(ranges.len() == 2 && ranges.iter().all(|range| range.starts_with("bytes=")), "{ranges:?}");
}

#[test]
fn what_is_not_the_listed_image_gets_no_table() {
    let lab = Lab::new();
    lab.proxy.set(Fault::WrongByte);
    let error = lab.bench.fails(&["-d", "disk", "-V", "current"]);
    assert!(error.contains("disk has no partition table now, and does not boot"), "{error}");
    lab.bench.has_no_table();
    lab.bench.empty_disk();
    let error = lab.bench.fails(&["-D", "-V", "current"]);
    assert!(error.contains("Could not verify keelson-4.0.0-beta.raw.zst."), "{error}");
    assert!(!lab.bench.path("keelson-4.0.0-beta.raw.zst").exists());
}

#[test]
fn what_the_metadata_does_not_allow_is_refused_before_the_first_write() {
    let lab = Lab::new();
    let check = |fault: Fault, flags: &[&str], expected: &[&str]| {
        lab.proxy.set(fault);
        let error = lab.bench.is_refused(&[&["-d", "disk"], flags].concat());
        for expected in expected {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    };
    let current = &["-V", "current"][..];
    check(
        Fault::Page(".raw.zst"),
        current,
        &["Image URL unavailable: http://", "the server has 26 bytes, expected "],
    );
    check(
        Fault::Page("/"),
        current,
        &["timestamp.json is not JSON: does this network redirect to a login page?"],
    );
    check(
        Fault::Other("timestamp.json", lab.expired_timestamp()),
        current,
        &[
            "cannot install channel beta",
            "timestamp.json: expired at ",
            "; compare this system's clock (date -u)",
        ],
    );
    check(
        Fault::None,
        &["-V", "9.0.0"],
        &[
            "cannot install version 9.0.0 of channel beta of http://",
            "targets.json does not list version 9.0.0 for amd64-usr; -V current installs the channel's version",
        ],
    );
    check(
        Fault::None,
        &["-V", "9"],
        &["-V 9: expected a version such as 2.0.0, a channel's name, or `current`"],
    );
    check(Fault::None, &["-C", "stable"], &["channel stable has no version for amd64-usr"]);
    check(
        Fault::None,
        &["-V", "current", "-o", "ec2"],
        &["no image keelson-4.0.0-beta-ec2.raw.zst|.raw.gz|.raw", "but keelson-4.0.0-beta.raw.zst; -o ''"],
    );
    check(
        Fault::None,
        &["-V", "current", "-k", "config.yml"],
        &["-k is for the signature of an image file or a mirror; the signed metadata of"],
    );
    // A release of the channel that has no images, and one whose image is of another build.
    lab.server.publish("5.0.0", "beta", &lab.keys);
    check(Fault::None, current, &["targets.json lists no images of version 5.0.0 for amd64-usr"]);
    lab.publish_image("5.0.0", "", &with_root_hash(lab.bench.image.clone(), Digest([3; 32])));
    check(Fault::None, current, &["/usr in keelson-5.0.0-beta.raw.zst has the root hash 0303"]);
    // Keys of somebody else.
    let other = Server::start();
    other.publish("1.0.0", "beta", &support::keys());
    let root = other.raw("GET", "/files/keelson/metadata/1.root.json", "", b"").body;
    lab.bench.put("root/usr/share/keelson/keys/root.json", root);
    check(Fault::None, current, &["does not trust the server's keys", "ALLOW_LOCAL_KEYS=yes"]);
}

#[test]
fn a_server_without_metadata_needs_a_key() {
    let lab = Lab::new();
    let conf = "GROUP=beta\nSERVER=disabled\n";
    lab.bench.put("root/etc/coreos/update.conf", conf);
    let error = lab.bench.is_refused(&["-d", "disk", "-V", "current"]);
    assert!(error.contains("this system has no channel server: SERVER is `disabled` in "), "{error}");
    assert!(error.contains("Name an image file with -f, or a mirror with -b"), "{error}");
    let base = format!("{}/images/beta/amd64-usr", lab.proxy.url);
    let error = lab.bench.is_refused(&["-d", "disk", "-V", "current", "-b", &base]);
    assert!(error.contains("is not https, so that anyone on the way could replace the image"), "{error}");
    lab.bench.succeeds(&["-d", "disk", "-V", "current", "-b", &base, "--insecure"]);
    lab.bench.is_installed(None);
}
