//! `image verify` and `image diff`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::fetch::sha256_of;
use image::finish::record_path;
use image::import::import;
use image::sparse::copy_sparse;
use image::verify::copy_with_flipped_byte;
use progress::Progress;
use serde_json::Value;

use crate::harness::{Build, first, folder, skip};
use crate::incremental::{TOUCHED_IN_USR, changed};

/// Returns whether it succeeded, its JSON output and its stderr.
fn keelson(arguments: &[&str]) -> (bool, Value, String) {
    let output = first().build.keelson(arguments).output().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), json, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn damaged_file(name: &str) -> PathBuf {
    let folder_path = folder().join("damaged");
    fs::create_dir_all(&folder_path).unwrap();
    folder_path.join(format!("{name}.raw"))
}

/// Names of the checks of `image verify` that failed.
pub fn failed(file: &Path) -> Vec<String> {
    failed_with(file, &[])
}

/// Like [`failed`], with additional arguments.
fn failed_with(file: &Path, arguments: &[&str]) -> Vec<String> {
    let (ok, json, stderr) =
        keelson(&[&["--json", "image", "verify", file.to_str().unwrap()], arguments].concat());
    let checks = json["checks"].as_array().unwrap_or_else(|| panic!("no checks: {stderr}"));
    let failed = checks.iter().filter(|check| check["ok"] == false);
    let names: Vec<String> = failed.map(|check| check["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ok, names.is_empty(), "the exit code says something else: {json:#}");
    assert_eq!(json["ok"], ok);
    names
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_good_image_passes() {
    for format in ["raw", "qcow2"] {
        assert_eq!(failed(&first().finished.path(format)), [""; 0], "{format}");
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_flipped_byte_is_found() {
    let raw = first().finished.path("raw");
    // The first block of the tree is its superblock; the hashes follow.
    for (label, offset) in [("USR-A", 12_345_678), ("USR-A-verity", 4096 + 77)] {
        let file = damaged_file(label);
        copy_with_flipped_byte(&raw, label, offset, &file).unwrap();
        assert_eq!(failed(&file), ["every block of /usr"], "{label}");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_damaged_partition_table_is_found() {
    let file = damaged_file("table");
    let flip = |at: u64| {
        let disk = File::options().read(true).write(true).open(&file).unwrap();
        let mut byte = [0];
        disk.read_exact_at(&mut byte, at).unwrap();
        disk.write_all_at(&[!byte[0]], at).unwrap();
    };
    // Block 1 is the header, 2 to 33 the entries; the last 33 blocks are the copies of entries and header.
    let length = first().finished.path("raw").metadata().unwrap().len();
    for at in [512 + 24, length - 512 + 24, length - 33 * 512 + 40] {
        copy_sparse(&first().finished.path("raw"), &file).unwrap();
        flip(at);
        assert_eq!(failed(&file), ["partition table"], "byte {at}");
    }
    for both in [[1024 + 40, 1024 + 41], [512 + 24, length - 512 + 24]] {
        copy_sparse(&first().finished.path("raw"), &file).unwrap();
        both.into_iter().for_each(flip);
        let (ok, _, stderr) = keelson(&["image", "verify", file.to_str().unwrap()]);
        assert!(!ok && stderr.contains("has no readable partition table"), "{stderr}");
    }
    fs::remove_file(&file).unwrap();
}

/// A key with its certificate beside it for `--sign`; `None` if the host has no openssl.
fn key(name: &str) -> Option<PathBuf> {
    let key = folder().join(format!("{name}.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"]);
    openssl.arg(format!("/CN={name}")).arg("-keyout").arg(&key).arg("-out").arg(key.with_extension("crt"));
    openssl.output().is_ok_and(|output| output.status.success()).then_some(key)
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn signatures_are_verified() {
    let (Some(ours), Some(other)) = (key("ours"), key("other")) else {
        let test = "verify_and_diff::signatures_are_verified";
        skip(test, "this host has no openssl to make keys with");
        return;
    };
    let arguments = vec!["--sign".to_owned(), ours.to_str().unwrap().to_owned()];
    let build = Build { arguments, ..Build::resumed("signed", &[]) };
    let signed = build.run().path("raw");
    let certificate = |key: &Path| key.with_extension("crt").to_str().unwrap().to_owned();
    let (ours, other) = (certificate(&ours), certificate(&other));
    let none: [&str; 0] = [];
    assert_eq!(failed(&signed), none, "nobody is named who must have signed it");
    assert_eq!(failed_with(&signed, &["--certificate", &ours]), none);
    assert_eq!(failed_with(&signed, &["--certificate", &other]), ["signature", "keys to enrol"]);
    assert_eq!(failed_with(&signed, &["--certificate", &other, "--certificate", &ours]), none);
    let unsigned = first().finished.path("raw");
    assert_eq!(failed_with(&unsigned, &["--require-signature"]), ["signature"]);
    assert_eq!(failed_with(&unsigned, &["--certificate", &ours]), ["signature"]);
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_finished_file_is_sufficient_for_import() {
    let (build, finished) = (&first().build, &first().finished);
    let options = build.options();
    let alone = folder().join("alone");
    fs::create_dir(&alone).unwrap();
    for format in ["raw", "qcow2"] {
        // Without a record beside it.
        let file = alone.join(format!("some.{format}"));
        fs::hard_link(finished.path(format), &file).unwrap();
        let folder_path = alone.join(format!("taken-{format}"));
        let tools = image::build::locked_tools::tools(&options, Progress::Quiet).unwrap();
        // The tree in use keeps no other build waiting.
        image::build::locked_tools::tools(&options, Progress::Quiet).unwrap();
        let imported = import(&file, &tools.path, &folder_path, true).unwrap();
        assert_eq!(
            import(&file, Path::new("/nonexistent"), &folder_path, true).unwrap(),
            imported,
            "it is there already"
        );
        assert_eq!(finished.json["version"], *imported.version);
        assert_eq!(finished.json["channel"], *imported.channel);
        assert_eq!(sha256_of(&imported.raw).unwrap(), finished.sha256("raw"), "{format}");
        assert!(imported.usr_tree.join("lib/os-release").exists());
        assert!(imported.usr_erofs.metadata().unwrap().len() > 0);
        fs::remove_dir_all(&folder_path).unwrap();
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_mismatch_with_the_record_is_found() {
    let raw = first().finished.path("raw");
    let file = damaged_file("record");
    copy_with_flipped_byte(&raw, "OEM", 2 << 20, &file).unwrap();
    fs::copy(record_path(&raw), record_path(&file)).unwrap();
    assert_eq!(failed(&file), ["record of the build"]);
    fs::remove_file(&file).unwrap();
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_diff_lists_exactly_the_changes() {
    let (before, after) = (first().finished.path("raw"), changed().finished.path("raw"));
    let arguments = ["--json", "image", "diff", before.to_str().unwrap(), after.to_str().unwrap()];
    let (ok, json, stderr) = keelson(&arguments);
    assert!(ok, "{stderr}");
    let names: Vec<_> = json["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    assert_eq!(names, [TOUCHED_IN_USR], "{json:#}");
    assert_eq!(json["packages"], serde_json::json!([]));
    let (ok, json, stderr) = keelson(&[arguments[0], arguments[1], arguments[2], arguments[3], arguments[3]]);
    assert!(ok && json["files"] == serde_json::json!([]), "{stderr}{json:#}");
}
