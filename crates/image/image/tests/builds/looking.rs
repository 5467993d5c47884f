//! `image verify` finds damage, `image diff` says what differs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::build::Options;
use image::fetch::sha256_of;
use image::finished::take;
use image::formats::record_path;
use image::sparse::copy_sparse;
use image::verify::copy_with_flipped_byte;
use progress::Progress;
use serde_json::Value;

use crate::incremental::{TOUCHED_IN_USR, changed};
use crate::workshop::{Build, first, folder, skip};

/// (exit code 0, what was printed, what was said).
fn keelson(words: &[&str]) -> (bool, Value, String) {
    let output = first().build.keelson(words).output().unwrap();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), answer, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn damaged_file(name: &str) -> PathBuf {
    let place = folder().join("damaged");
    fs::create_dir_all(&place).unwrap();
    place.join(format!("{name}.raw"))
}

/// Names of the failed checks.
fn failed(file: &Path) -> Vec<String> {
    failed_with(file, &[])
}

/// The same with further words of the command.
fn failed_with(file: &Path, words: &[&str]) -> Vec<String> {
    let (ok, answer, said) =
        keelson(&[&["--json", "image", "verify", file.to_str().unwrap()], words].concat());
    let checks = answer["checks"].as_array().unwrap_or_else(|| panic!("no checks: {said}"));
    let failed = checks.iter().filter(|check| check["ok"] == false);
    let names: Vec<String> = failed.map(|check| check["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ok, names.is_empty(), "the exit code says something else: {answer:#}");
    assert_eq!(answer["ok"], ok);
    names
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_good_image_has_nothing_to_find() {
    for format in ["raw", "qcow2"] {
        assert_eq!(failed(&first().finished.path(format)), [""; 0], "{format}");
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_flipped_byte_is_found() {
    let raw = first().finished.path("raw");
    // The tree's first block is its superblock, the hashes follow.
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
    // Block 1 is the header, 2 to 33 the entries; at the end are 32 blocks of their copy and the header's.
    let length = first().finished.path("raw").metadata().unwrap().len();
    for at in [512 + 24, length - 512 + 24, length - 33 * 512 + 40] {
        copy_sparse(&first().finished.path("raw"), &file).unwrap();
        flip(at);
        assert_eq!(failed(&file), ["partition table"], "byte {at}");
    }
    for both in [[1024 + 40, 1024 + 41], [512 + 24, length - 512 + 24]] {
        copy_sparse(&first().finished.path("raw"), &file).unwrap();
        both.into_iter().for_each(flip);
        let (ok, _, said) = keelson(&["image", "verify", file.to_str().unwrap()]);
        assert!(!ok && said.contains("has no partition table that can be read"), "{said}");
    }
    fs::remove_file(&file).unwrap();
}

/// A key with its certificate beside it, as `--sign` wants them; none where the host has no openssl.
fn key(name: &str) -> Option<PathBuf> {
    let key = folder().join(format!("{name}.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"]);
    openssl.arg(format!("/CN={name}")).arg("-keyout").arg(&key).arg("-out").arg(key.with_extension("crt"));
    openssl.output().is_ok_and(|output| output.status.success()).then_some(key)
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_signature_is_checked_and_one_by_another_key_or_none_is_found() {
    let (Some(ours), Some(other)) = (key("ours"), key("other")) else {
        let test = "looking::a_signature_is_checked_and_one_by_another_key_or_none_is_found";
        skip(test, "this host has no openssl to make keys with");
        return;
    };
    let words = vec!["--sign".to_owned(), ours.to_str().unwrap().to_owned()];
    let build = Build { words, ..Build::resumed("signed", &[]) };
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
fn a_finished_file_alone_has_all_that_machines_need() {
    let (build, finished) = (&first().build, &first().finished);
    let options = Options {
        work: build.work.clone(),
        cache: build.cache.join("keelson/debs"),
        ..Options::for_checkout(&build.checkout)
    };
    let alone = folder().join("alone");
    fs::create_dir(&alone).unwrap();
    for format in ["raw", "qcow2"] {
        // No record is beside it.
        let file = alone.join(format!("some.{format}"));
        fs::hard_link(finished.path(format), &file).unwrap();
        let place = alone.join(format!("taken-{format}"));
        let tools = image::build::tools(&options, Progress::Quiet).unwrap();
        let taken = take(&file, &tools.path, &place, true).unwrap();
        assert_eq!(
            take(&file, Path::new("/nonexistent"), &place, true).unwrap(),
            taken,
            "it is there already"
        );
        assert_eq!(finished.answer["version"], *taken.version);
        assert_eq!(finished.answer["channel"], *taken.channel);
        assert_eq!(sha256_of(&taken.raw).unwrap(), finished.sha256("raw"), "{format}");
        assert!(taken.usr_tree.join("lib/os-release").exists());
        assert!(taken.usr_erofs.metadata().unwrap().len() > 0);
        fs::remove_dir_all(&place).unwrap();
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn an_image_that_is_not_its_record_s_is_found() {
    let raw = first().finished.path("raw");
    let file = damaged_file("record");
    copy_with_flipped_byte(&raw, "OEM", 2 << 20, &file).unwrap();
    fs::copy(record_path(&raw), record_path(&file)).unwrap();
    assert_eq!(failed(&file), ["record of the build"]);
    fs::remove_file(&file).unwrap();
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_diff_says_just_what_differs() {
    let (before, after) = (first().finished.path("raw"), changed().finished.path("raw"));
    let words = ["--json", "image", "diff", before.to_str().unwrap(), after.to_str().unwrap()];
    let (ok, answer, said) = keelson(&words);
    assert!(ok, "{said}");
    let names: Vec<_> = answer["files"].as_array().unwrap().iter().map(|file| &file["name"]).collect();
    assert_eq!(names, [TOUCHED_IN_USR], "{answer:#}");
    assert_eq!(answer["packages"], serde_json::json!([]));
    let (ok, answer, said) = keelson(&[words[0], words[1], words[2], words[3], words[3]]);
    assert!(ok && answer["files"] == serde_json::json!([]), "{said}{answer:#}");
}
