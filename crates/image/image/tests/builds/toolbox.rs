//! `image toolbox`: reproducible; an image does not need its packages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use image::lock::{Lock, Tree};

use crate::harness::{Build, copy_cache, first};
use crate::mirror::only_mirror;

/// The archive that this checkout's program makes.
fn archive(build: &Build) -> PathBuf {
    let path = build.out.with_extension("toolbox");
    let made = build.keelson(&["image", "toolbox", "--output"]).arg(&path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn the_archive_is_the_same_in_any_environment() {
    // Each removes its folder in the end.
    let (build, mut other) = (Build::new("toolbox"), Build::new("another toolbox"));
    let one = archive(&build);
    other.environment = vec![("TZ", "Asia/Kathmandu".into()), ("LC_ALL", "tr_TR.UTF-8".into())];
    let other = other.in_shell(&[], "umask 077; exec \"$@\"");
    let other = archive(&other);
    assert!(fs::read(&one).unwrap() == fs::read(&other).unwrap(), "{} {}", one.display(), other.display());
    let mut found = Vec::new();
    let mut outer = tar::Archive::new(zstd::Decoder::new(File::open(&one).unwrap()).unwrap());
    for entry in outer.entries().unwrap() {
        let entry = entry.unwrap();
        if entry.path().unwrap().ends_with("layer.tar") {
            for file in tar::Archive::new(entry).entries().unwrap() {
                let file = file.unwrap();
                let header = file.header();
                let path = file.path().unwrap().into_owned();
                assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{}", path.display());
                found.push((path, header.mode().unwrap()));
            }
        }
    }
    for (path, mode) in [
        ("etc/os-release", 0o777),
        ("etc/passwd", 0o644),
        ("etc/ssl/certs/ca-certificates.crt", 0o644),
        ("tmp", 0o1777),
        ("usr/bin/strace", 0o755),
        ("var/lib/dpkg/status", 0o644),
    ] {
        assert!(found.contains(&(Path::new(path).to_path_buf(), mode)), "{path}");
    }
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn an_image_needs_no_package_of_the_toolbox() {
    first();
    let mut build = Build::resumed("without-toolbox", &[]);
    build.cache = copy_cache("without-toolbox-cache");
    let lock = Lock::read(&build.checkout.join("os/packages.lock")).unwrap();
    let only_toolbox = |trees: &[Tree]| trees == [Tree::Toolbox];
    let mut removed = 0;
    for package in lock.packages.iter().filter(|package| only_toolbox(&package.trees)) {
        let deb = format!("{}.deb", package.sha256);
        fs::remove_file(build.cache.join("keelson/debs").join(deb)).unwrap();
        removed += 1;
    }
    assert!(removed > 10, "{removed} packages are the toolbox's only");
    build.environment = only_mirror(&lock, &[]);
    build.run();
    let left = |package: &image::lock::Package| {
        build.cache.join("keelson/debs").join(format!("{}.deb", package.sha256)).exists()
    };
    assert!(!lock.packages.iter().any(|package| only_toolbox(&package.trees) && left(package)));
}
