//! Image files of a release, published with it and found by an installer and by Vagrant.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use update_engine::{Failure, Isolation, MachineSpec, PublishedImages, RetryPolicy};

use super::*;

/// Suffix, format and content of an image file.
type File<'a> = (&'a str, &'a str, &'a [u8]);

/// What `keelson image build --out` leaves: files, and their record, whose folder may have been moved since.
fn write_images(to: &Path, version: &str, root_hash: &str, files: &[File<'_>]) -> PathBuf {
    std::fs::create_dir_all(to).unwrap();
    let name = format!("keelson-{version}-alpha");
    let file = |(suffix, format, content): &File<'_>| {
        let file = format!("{name}{suffix}");
        std::fs::write(to.join(&file), content).unwrap();
        json!({
            "path": format!("/elsewhere/{file}"), "format": format, "bytes": 4096, "sha256": Digest::of(content),
            "virtual_size": 8192, "disk_chunks": "", "boot": ["uefi"], "import": "",
        })
    };
    let files: Vec<_> = files.iter().map(file).collect();
    let record = json!({
        "version": version, "channel": "alpha", "usr_root_hash": root_hash, "disk_sha256": "", "lock_sha256": "",
        "files": files,
    });
    let path = to.join(format!("{name}.json"));
    std::fs::write(&path, record.to_string()).unwrap();
    path
}

/// Of the releases of these tests.
fn root_hash() -> String {
    Digest([2; 32]).to_string()
}

fn get(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn found(
    server: &Server,
    folder: &Path,
    version: Option<&str>,
    channel: &str,
) -> Result<PublishedImages, Failure> {
    let root = std::fs::read(folder.join(KEYS).join("1.root.json")).unwrap();
    let version = version.map(|version| version.parse().unwrap());
    let retry = RetryPolicy { attempts: 2, pause: Duration::from_millis(10), limit: Duration::from_secs(60) };
    let spec = MachineSpec { appid: APP, board: "amd64-usr", channel };
    let url = format!("http://{}/", server.address);
    PublishedImages::from_server(
        (&url, "keelson"),
        version.as_ref(),
        spec,
        &root,
        retry,
        &Isolation::InProcess,
    )
}

#[test]
fn images_are_published_with_a_release_and_found_by_installers() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_release(&at.join("2.0.0"), "2.0.0");
    write_release(&at.join("3.0.0"), "3.0.0");
    let server = Server::start(at);
    let dist = at.join("dist");
    write_images(
        &dist,
        "2.0.0",
        &root_hash(),
        &[(".raw.zst", "raw.zst", b"disk 2"), (".qcow2", "qcow2", b"q")],
    );
    let publish = ["publish", "--channel", "alpha", "2.0.0", "--images", "dist"];
    assert_eq!(done(at, &server, &publish), "channel alpha is at 2.0.0, with 2 image files\n");
    let path = "/images/alpha/amd64-usr/current/coreos_production_image.bin.zst";
    assert!(get(&server, path).ends_with("\r\n\r\ndisk 2"));
    // Again, as they are in the folder of the release now.
    assert_eq!(done(at, &server, &publish[..4]), "channel alpha is at 2.0.0, with 2 image files\n");

    let images = found(&server, at, None, "alpha").unwrap();
    let raw = images.in_format(&["raw", "raw.zst"]).unwrap();
    assert_eq!((images.version.to_string(), images.files.len(), raw.size), ("2.0.0".to_owned(), 2, 6));
    assert_eq!((raw.sha256, raw.virtual_size), (Digest::of(b"disk 2"), 8192));
    let url = format!("http://{}/images/alpha/amd64-usr/2.0.0/keelson-2.0.0-alpha.raw.zst", server.address);
    assert_eq!(raw.url, url);
    assert!(images.in_format(&["iso"]).is_none());

    // A release that was published without images gets them later.
    assert_eq!(done(at, &server, &["publish", "--channel", "alpha", "3.0.0"]), "channel alpha is at 3.0.0\n");
    let none = found(&server, at, None, "alpha").unwrap_err();
    assert!(none.message.contains("targets.json lists no images of version 3.0.0 for amd64-usr"), "{none}");
    assert_eq!(found(&server, at, Some("2.0.0"), "alpha").unwrap(), images);
    let record = write_images(&at.join("more"), "3.0.0", &root_hash(), &[(".raw.zst", "raw.zst", b"disk 3")]);
    let publish = ["publish", "--channel", "beta", "3.0.0", "--images", record.to_str().unwrap()];
    assert_eq!(done(at, &server, &publish), "channel beta is at 3.0.0, with 1 image files\n");
    let newest = found(&server, at, None, "alpha").unwrap();
    assert_eq!(
        (newest.version.to_string(), newest.files[0].sha256),
        ("3.0.0".to_owned(), Digest::of(b"disk 3"))
    );
    let of_beta = found(&server, at, None, "beta").unwrap_err();
    assert!(of_beta.message.contains("version 3.0.0 has no images for channel beta"), "{of_beta}");
    assert!(server.check("m1", "1.0.0").contains("<manifest version=\"3.0.0\">"), "machines ignore images");
    // Keys of somebody else.
    create_unencrypted(&at.join("other").join(KEYS), "other", 4_000_000_000).unwrap();
    let foreign = found(&server, &at.join("other"), None, "alpha").unwrap_err();
    assert!(foreign.message.contains("signed by 0 of 1 keys of role timestamp"), "{foreign}");
    // Changed on the server: an installer does not use the list.
    let list = at.join(
        ".local/state/keelson/updates/images/6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54/amd64/3.0.0/images.json",
    );
    let good = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, good.replace("raw.zst\",\n      \"size", "raw.xst\",\n      \"size")).unwrap();
    assert_ne!(std::fs::read_to_string(&list).unwrap(), good);
    let changed = found(&server, at, None, "alpha").unwrap_err();
    assert!(changed.message.contains("sha256"), "{changed}");
}

/// Behind a proxy the request's host is not the one that Vagrant reaches.
#[test]
fn a_catalog_has_the_public_url_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_release(&at.join("2.0.0"), "2.0.0");
    let server = Server::start_with(at, &["--public-url", "http://localhost:8443/keelson/"]);
    write_images(&at.join("dist"), "2.0.0", &root_hash(), &[("-vagrant-virtualbox.box", "box", b"box")]);
    done(at, &server, &["publish", "--channel", "alpha", "2.0.0", "--images", "dist"]);
    let catalog = get(&server, "/images/alpha/amd64-usr/coreos_production_vagrant.json");
    let url = "http://localhost:8443/keelson/images/alpha/amd64-usr/2.0.0/keelson-2.0.0-alpha-vagrant-virtualbox.box";
    assert!(catalog.contains(&format!("\"url\":\"{url}\"")), "{catalog}");
}

#[test]
fn images_of_another_build_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_release(&at.join("2.0.0"), "2.0.0");
    let server = Server::start(at);
    let files: &[File<'_>] = &[(".raw.zst", "raw.zst", b"disk")];
    let check = |dist: &str, code: i32, expect: &str| {
        let arguments = ["publish", "--channel", "alpha", "2.0.0", "--images", dist];
        let (found, _, stderr) = run(at, &server, &arguments);
        assert!(found == Some(code) && stderr.contains(expect), "{stderr}");
        assert!(!at.join("2.0.0/images.json").exists());
    };
    write_images(&at.join("other"), "2.0.0", &"07".repeat(32), files);
    check(
        "other",
        1,
        "other/keelson-2.0.0-alpha.json do not belong to the release: the images contain another build",
    );
    write_images(&at.join("new"), "2.1.0", &root_hash(), files);
    check("new", 1, "the images are of version 2.1.0, the release has version 2.0.0");
    write_images(&at.join("changed"), "2.0.0", &root_hash(), files);
    std::fs::write(at.join("changed/keelson-2.0.0-alpha.raw.zst"), "DISK").unwrap();
    check("changed", 1, "is not the file that its record lists");
    std::fs::create_dir(at.join("empty")).unwrap();
    check("empty", 1, "there is no record keelson-VERSION-CHANNEL.json in empty");
    std::fs::write(at.join("text.json"), "{}").unwrap();
    check("text.json", 1, "text.json is not a record of `keelson image build`");
    let arguments = ["publish", "--channel", "alpha", "9.0.0", "--images", "other"];
    assert_eq!(run(at, &server, &arguments).0, Some(2), "no folder to add them to");
    // Placed in the folder of the release by somebody else.
    write_images(&at.join("good"), "2.0.0", &root_hash(), files);
    done(at, &server, &["publish", "--channel", "alpha", "2.0.0", "--images", "good"]);
    let list = at.join("2.0.0/images.json");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, text.replace("\"size\": 4", "\"size\": 5")).unwrap();
    let (code, _, stderr) = run(at, &server, &["publish", "--channel", "alpha", "2.0.0"]);
    assert!(
        code == Some(1) && stderr.contains("targets.json lists other images of version 2.0.0"),
        "{stderr}"
    );
}

/// A box that Vagrant adds without a hypervisor.
fn vagrant_box(version: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("metadata.json"), r#"{"provider":"libvirt","format":"qcow2","virtual_size":1}"#)
        .unwrap();
    std::fs::write(at.join("box.img"), format!("the disk of {version}")).unwrap();
    std::fs::write(at.join("Vagrantfile"), "Vagrant.configure('2') { |config| }\n").unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-czf", "box.tar.gz", "metadata.json", "box.img", "Vagrantfile"]).current_dir(at);
    assert!(tar.status().unwrap().success());
    std::fs::read(at.join("box.tar.gz")).unwrap()
}

#[test]
#[ignore = "wants vagrant: cargo verify wants"]
fn vagrant_adds_and_updates_boxes_of_a_channel() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let server = Server::start(at);
    let publish = |version: &str| {
        write_release(&at.join(version), version);
        let bytes = vagrant_box(version);
        let file: File<'_> = ("-vagrant-libvirt.box", "box-libvirt", &bytes);
        write_images(&at.join(format!("dist-{version}")), version, &root_hash(), &[file]);
        let images = format!("dist-{version}");
        done(at, &server, &["publish", "--channel", "alpha", version, "--images", &images]);
    };
    let home = at.join("vagrant");
    std::fs::create_dir(&home).unwrap();
    let vagrant = |arguments: &[&str]| {
        let mut command = Command::new("vagrant");
        command
            .args(arguments)
            .current_dir(&home)
            .env("HOME", &home)
            .env("VAGRANT_HOME", home.join(".vagrant.d"));
        command.env("VAGRANT_CHECKPOINT_DISABLE", "1").env("VAGRANT_DEFAULT_PROVIDER", "libvirt");
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "vagrant {arguments:?}: {text}");
        text
    };
    let boxes = || vagrant(&["box", "list"]);
    publish("2.0.0");
    let url = format!("http://{}", server.address);
    let catalog = format!("{url}/images/alpha/amd64-usr/coreos_production_vagrant.json");
    vagrant(&["box", "add", &catalog, "--provider", "libvirt"]);
    assert!(boxes().contains("coreos-alpha (libvirt, 2.0.0"), "{}", boxes());
    let file = home.join("Vagrantfile");
    done(at, &server, &["vagrantfile", "--server", &url, "-o", file.to_str().unwrap()]);
    vagrant(&["validate", "--ignore-provider"]);
    let global = || vagrant(&["box", "outdated", "--global"]);
    assert!(global().contains("'coreos-alpha' for 'libvirt' (v2.0.0) is up to date"), "{}", global());

    publish("3.0.0");
    assert!(global().contains("is outdated! Current: 2.0.0. Latest: 3.0.0"), "{}", global());
    // Of the Vagrantfile.
    let outdated = vagrant(&["box", "outdated"]);
    assert!(outdated.contains("A newer version of the box 'coreos-alpha'"), "{outdated}");
    vagrant(&["box", "update"]);
    assert!(boxes().contains("coreos-alpha (libvirt, 3.0.0"), "{}", boxes());
    // What was unpacked is what was published.
    let unpacked = home.join(".vagrant.d/boxes/coreos-alpha/3.0.0");
    let disk = [unpacked.join("libvirt/box.img"), unpacked.join("amd64/libvirt/box.img")];
    let disk = disk.iter().find(|path| path.exists()).unwrap();
    assert_eq!(std::fs::read_to_string(disk).unwrap(), "the disk of 3.0.0");

    // A withdrawn version is not installed.
    publish("4.0.0");
    done(at, &server, &["channel", "set", "alpha", "3.0.0"]);
    done(at, &server, &["channel", "ban", "4.0.0", "--why", "data loss"]);
    assert!(global().contains("(v3.0.0) is up to date"), "{}", global());
}
