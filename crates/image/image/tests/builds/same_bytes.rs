//! Reproducibility: the same inputs produce the same bytes in any environment.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use image::fetch::sha256_of;
use image::tree::make_folder;

use crate::harness::{Build, Finished, checkout, copy, copy_checkout, first, folder, harness, skip};

fn assert_same(other: &Finished) {
    let first = &first().finished;
    for format in ["raw", "qcow2"] {
        assert_eq!(other.sha256(format), first.sha256(format), "{format}: {}", other.path(format).display());
        assert_eq!(sha256_of(&other.path(format)).unwrap(), other.sha256(format), "what --json says");
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn another_folder_umask_time_zone_and_language() {
    let mut build = Build::new("elsewhere");
    let deep = folder().join("elsewhere/in a much/deeper folder of another length");
    build.checkout = copy_checkout(&deep);
    build.work = deep.join("w");
    build.formats = "qcow2,raw";
    build.environment =
        [("TZ", "Asia/Kathmandu"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("LANGUAGE", "tr")]
            .map(|(name, value)| (name, value.into()))
            .to_vec();
    // An old checkout that was created with that umask.
    let aged = Command::new("sh")
        .args(["-c", "chmod -R go-rwx \"$1\" && find \"$1\" -exec touch -h -d 1999-01-01 {} +", "sh"])
        .arg(&deep)
        .status();
    assert!(aged.unwrap().success());
    assert_same(&build.in_shell(&[], "umask 077; exec \"$@\"").run());
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn an_unprivileged_user() {
    if !nix::unistd::geteuid().is_root() {
        let reason = "only root can become another user; all of these builds had no root";
        skip("same_bytes::an_unprivileged_user", reason);
        return;
    }
    let folder_path = folder().join("nobody");
    let mut build = Build::new("nobody");
    build.formats = "qcow2,raw";
    build.work = folder_path.join("work");
    for name in ["work", "out", "home"] {
        make_folder(&folder_path.join(name)).unwrap();
        std::os::unix::fs::chown(folder_path.join(name), Some(65534), Some(65534)).unwrap();
    }
    build.environment = vec![("HOME", folder_path.join("home").into())];
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    build.before = user.map(str::to_owned).to_vec();
    assert_same(&build.run());
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder_path.join("work/disk")).unwrap()),
        65534
    );
}

/// Two complete checkouts, including cargo builds.
#[test]
#[ignore = "builds whole images and all programs twice: cargo verify --all image"]
fn two_whole_checkouts() {
    let mut hashes = Vec::new();
    for folder_path in ["one", "the/other/one"] {
        let folder_path = folder().join("whole").join(folder_path);
        copy_source(&checkout(), &folder_path);
        fs::copy(folder().join("locked/os/packages.lock"), folder_path.join("os/packages.lock")).unwrap();
        let log = folder_path.with_extension("stderr");
        let output = Command::new(&harness().keelson)
            .args(["--json", "image", "build", "--out", "out"])
            .current_dir(&folder_path)
            .env("XDG_CACHE_HOME", &harness().cache)
            .env("XDG_STATE_HOME", "/nonexistent")
            .env("CARGO_TARGET_DIR", folder_path.join("target"))
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", fs::read_to_string(&log).unwrap());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let of_formats = json["files"].as_array().unwrap().iter();
        hashes.push(of_formats.map(|file| file["sha256"].clone()).collect::<Vec<_>>());
    }
    assert_eq!(hashes[0].len(), 2);
    assert_eq!(hashes[0], hashes[1]);
}

/// Copies everything but build folders and `.git`.
fn copy_source(from: &Path, to: &Path) {
    harness();
    make_folder(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name != ".git" && name != "target" && !path.join("CACHEDIR.TAG").exists() {
            copy(&path, &to.join(name));
        }
    }
}
