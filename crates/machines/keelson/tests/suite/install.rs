//! `keelson install --to FILE`: a disk image that is complete or absent.

#[allow(dead_code, reason = "tests of coreos-install use more of it")]
#[path = "../../../../update/coreos-install/tests/suite/bench/mod.rs"]
mod bench;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bench::{Bench, CONFIG, MIB};

fn keelson(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keelson"));
    command
        .args(["install", "-f", "system.raw.zst", "--insecure"])
        .args(arguments)
        .env("HOME", bench.path(""))
        .env_remove("KEELSON_UPDATE_SERVER")
        .current_dir(bench.path(""))
        .stdin(Stdio::null());
    command
}

fn run(bench: &Bench, arguments: &[&str]) -> Output {
    keelson(bench, arguments).output().unwrap()
}

fn refused(bench: &Bench, arguments: &[&str]) -> String {
    let output = run(bench, arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put("system.raw.zst", zstd::encode_all(&*bench.image, 1).unwrap());
    fs::remove_file(bench.path("disk")).unwrap();
    bench
}

#[test]
fn a_disk_image_has_the_bytes_of_the_image_and_the_configuration() {
    let bench = bench();
    let done = run(&bench, &["--to", "disk", "--json"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let printed: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (printed["bytes"].as_u64(), printed["installed"].as_bool()),
        (Some(16 * MIB as u64), Some(true))
    );
    // All but the boot record, in which cylinders and heads of the disk may differ.
    assert!(fs::read(bench.path("disk")).unwrap()[512..] == bench.image[512..]);
    // An existing one is replaced only if that is forced, and only if it is a disk image.
    let exists = refused(&bench, &["--to", "disk"]);
    assert!(exists.contains("disk exists; --force replaces the disk image"), "{exists}");
    let done = run(&bench, &["--to", "disk", "--force", "--size", "1", "-c", "config.yml"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(text.lines().last(), Some("Success! Keelson (from system.raw.zst) is installed on disk"));
    assert_eq!(fs::metadata(bench.path("disk")).unwrap().len(), 1 << 30);
    bench.is_installed(Some(CONFIG));
    bench.put("notes.txt", "notes");
    let other = refused(&bench, &["--to", "notes.txt", "--force"]);
    assert!(other.contains("notes.txt exists, and is no disk image"), "{other}");
    assert_eq!(fs::read_to_string(bench.path("notes.txt")).unwrap(), "notes");
}

#[test]
fn a_failure_leaves_what_was_there() {
    let bench = bench();
    let mut file = fs::read(bench.path("system.raw.zst")).unwrap();
    let end = file.len() / 2;
    file.truncate(end);
    bench.put("system.raw.zst", &file);
    let error = refused(&bench, &["--to", "disk"]);
    assert!(error.contains("disk was not created: "), "{error}");
    bench.put("disk", &bench.image);
    let error = refused(&bench, &["--to", "disk", "--force"]);
    assert!(error.contains("disk is as it was: "), "{error}");
    assert!(fs::read(bench.path("disk")).unwrap() == bench.image);
    let missing = refused(&bench, &["--to", "no/folder/disk"]);
    assert!(missing.contains("cannot create no/folder/disk"), "{missing}");
    assert_eq!(left(bench.path("").as_path()), 0);
}

/// Files that are not complete.
fn left(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".keelson-install-")).count()
}

#[test]
fn killed_anywhere_the_disk_image_is_complete_or_absent() {
    let bench = bench();
    let (mut absent, mut complete) = (0, 0);
    for step in 0..40 {
        let mut child = keelson(&bench, &["--to", "disk", "-c", "config.yml", "--quiet"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(step * 15));
        child.kill().unwrap();
        child.wait().unwrap();
        if bench.path("disk").exists() {
            bench.is_installed(Some(CONFIG));
            fs::remove_file(bench.path("disk")).unwrap();
            complete += 1;
        } else {
            absent += 1;
        }
    }
    assert!(absent > 0, "killed {complete} times when it was complete");
    let done = run(&bench, &["--to", "disk", "-c", "config.yml"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    bench.is_installed(Some(CONFIG));
}
