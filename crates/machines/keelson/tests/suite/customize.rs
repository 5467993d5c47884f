//! `keelson image customize` and `keelson config-drive` from the view of operators.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;

use cloudinit::provider::openstack::{META_DATA, MetaData, USER_DATA};
use cpio::newc;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::keelson;

const VALID: &str = "#cloud-config\nhostname: core-01\n";
const INVALID: &str = "#cloud-config\nhostname: [\n";
const METADATA: &str = "{\"hostname\": \"core-07\"}\n";

/// The kernel's archive of one file.
fn archive(name: &str) -> Vec<u8> {
    let mut entry = newc::Builder::new(name).mode(0o100_644).write(Vec::new(), 6);
    entry.write_all(b"system").unwrap();
    newc::trailer(entry.finish().unwrap()).unwrap()
}

/// User-data, and an initrd of a live system.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut initrd = zstd::encode_all(&*archive("init"), 1).unwrap();
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(archive("live/image.erofs"));
    let files: [(&str, &[u8]); 6] = [
        ("initrd.img", &initrd),
        ("valid", VALID.as_bytes()),
        ("invalid", INVALID.as_bytes()),
        ("meta.json", METADATA.as_bytes()),
        ("10-a.network", b"[Match]\n"),
        ("text", b"text"),
    ];
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn succeed(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = keelson(folder).args(arguments).output().unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    (stdout, stderr)
}

/// A failure has this exit code and message, and adds no file.
fn fail(folder: &Path, arguments: &[&str], code: i32, message: &str) {
    let count = || fs::read_dir(folder).unwrap().count();
    let before = count();
    let output = keelson(folder).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    assert_eq!(count(), before, "{arguments:?} left a file");
}

#[test]
fn an_initrd_is_customized_listed_and_reset() {
    let folder = folder();
    let folder = folder.path();
    let original = fs::read(folder.join("initrd.img")).unwrap();
    let customize = ["image", "customize", "initrd.img", "--user-data", "valid", "--network", "10-a.network"];
    let (stdout, stderr) = succeed(
        folder,
        &[&customize[..], &["--install", "smallest", "--install-config", "valid", "-o", "mine.img"]].concat(),
    );
    let line = format!("coreos-install/user_data  {} bytes\n", VALID.len());
    assert!(stdout.contains(&line), "{stdout}");
    assert!(stderr.contains("in the clear"), "{stderr}");
    let (listed, _) = succeed(folder, &["image", "customized", "mine.img"]);
    assert_eq!(listed, stdout);
    let (text, _) = succeed(folder, &["--json", "image", "customized", "mine.img"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["customized"], true);
    assert_eq!(document["files"].as_array().unwrap().len(), 4, "{document}");
    succeed(folder, &["image", "customize", "--reset", "mine.img", "-o", "back.img"]);
    assert!(fs::read(folder.join("back.img")).unwrap() == original);
    let (text, _) = succeed(folder, &["image", "customized", "back.img"]);
    assert_eq!(text, "back.img is not customized\n");
}

#[test]
fn what_cannot_be_meant_is_refused_before_a_file_is_written() {
    let folder = folder();
    let check = |arguments: &[&str], code, message| {
        let arguments = [&["image", "customize", "initrd.img", "-o", "mine.img"], arguments].concat();
        fail(folder.path(), &arguments, code, message);
    };
    check(&["--user-data", "invalid"], 1, "error: the user-data is invalid\ninvalid:2:");
    check(&["--user-data", "missing"], 1, "cannot read missing");
    check(&["--install-config", "valid"], 2, "--install");
    check(&["--install", "sda"], 1, "invalid device sda");
    check(&["--karg", "debug"], 1, "an initrd has no kernel arguments: debug");
    check(&["--network", "text"], 1, "text is not named *.network");
    check(&["--ca", "text"], 1, "text contains no PEM certificate");
    check(&["--reset", "--install", "smallest"], 2, "cannot be used with");
    fail(folder.path(), &["image", "customized", "text"], 1, "neither an ISO image nor the initrd");
}

#[test]
fn a_config_drive_is_read_back_as_machines_read_it() {
    let folder = folder();
    let folder = folder.path();
    let (stdout, _) = succeed(
        folder,
        &["config-drive", "--user-data", "valid", "--meta-data", "meta.json", "-o", "drive.vfat"],
    );
    assert_eq!(stdout, "drive.vfat\n");
    let file = File::open(folder.join("drive.vfat")).unwrap();
    let volume = fatfs::FileSystem::new(file, fatfs::FsOptions::new()).unwrap();
    assert_eq!(volume.read_volume_label_from_root_dir().unwrap().as_deref(), Some("config-2"));
    let read = |path: &str| {
        let mut content = Vec::new();
        volume.root_dir().open_file(path).unwrap().read_to_end(&mut content).unwrap();
        content
    };
    assert_eq!(read(USER_DATA), VALID.as_bytes());
    let metadata = MetaData::read(&read(META_DATA)).unwrap().metadata(b"", b"").unwrap();
    assert_eq!(metadata.hostname.as_deref(), Some("core-07"));
    fail(folder, &["config-drive", "--user-data", "invalid", "-o", "x.vfat"], 1, "the user-data is invalid");
    fail(folder, &["config-drive", "--user-data", "valid", "-o", "x.img"], 2, "ends in .iso or .vfat");
    let metadata = ["--meta-data", "text", "-o", "x.vfat"];
    let arguments = [&["config-drive", "--user-data", "valid"], &metadata[..]].concat();
    fail(folder, &arguments, 1, "text is not a JSON object");
}
