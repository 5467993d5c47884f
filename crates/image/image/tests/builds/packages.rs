//! Packages that are damaged, wrong or unavailable.

use std::fs;
use std::path::PathBuf;

use image::build::{BuildError, Options, fill_cache};
use image::fetch::FetchError;
use image::lock::{Lock, Package, Request};
use image::mirror::Mirrors;
use image::resolve::resolve;
use progress::Progress;

use crate::harness::{Build, checkout, copy_cache, first, skip};
use crate::mirror::{Fault, closed_port, only_mirror};

/// A small package of the node's tree.
const VICTIM: &str = "sudo";

/// A build with a private cache, and the path of its victim in it.
fn prepared(name: &str, removed: &[&str]) -> (Build, Lock, Package, PathBuf) {
    first();
    let mut build = Build::resumed(name, removed);
    build.cache = copy_cache(&format!("{name}-cache"));
    let lock = Lock::read(&build.checkout.join("os/packages.lock")).unwrap();
    let victim = lock.packages.iter().find(|package| package.name == VICTIM).unwrap().clone();
    let deb = build.cache.join("keelson/debs").join(format!("{}.deb", victim.sha256));
    (build, lock, victim, deb)
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn damaged_cache_files_are_reported_and_downloaded_again() {
    let (mut build, lock, victim, deb) = prepared("rotten", &["packages", "system", "usr", "disk"]);
    let other = lock.packages.iter().find(|package| package.name == "less").unwrap();
    let damaged = [&victim, other].map(|package| deb.with_file_name(format!("{}.deb", package.sha256)));
    for deb in &damaged {
        let mut content = fs::read(deb).unwrap();
        let middle = content.len() / 2;
        content[middle] = !content[middle];
        // Replaced, because the file is a hard link to the shared cache.
        fs::remove_file(deb).unwrap();
        fs::write(deb, content).unwrap();
    }
    build.environment = only_mirror(&lock, &[]);
    let finished = build.run();
    let messages: Vec<&str> =
        finished.stderr.lines().filter(|line| line.contains("damaged in the cache")).collect();
    assert_eq!(messages.len(), 1, "{}", finished.stderr);
    for (package, deb) in [&victim, other].into_iter().zip(&damaged) {
        assert!(messages[0].contains(&format!("{} {}", package.name, package.version)), "{}", messages[0]);
        assert_eq!(image::fetch::sha256_of(deb).unwrap(), package.sha256);
    }
    assert_eq!(finished.sha256("raw"), first().finished.sha256("raw"));
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_mirror_that_serves_a_wrong_file_stops_the_build() {
    let (mut build, lock, victim, deb) = prepared("lying", &[]);
    fs::remove_file(&deb).unwrap();
    build.environment = only_mirror(&lock, &[(VICTIM, Fault::WrongContent)]);
    let stderr = build.fail();
    let expect = format!("{VICTIM} {}: the download does not match the SHA-256", victim.version);
    assert!(stderr.contains(&expect), "{stderr}");
    assert!(!deb.exists(), "the wrong file came into the cache");
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_full_cache_is_sufficient_offline_and_a_gap_is_reported() {
    let (mut build, _, victim, deb) = prepared("offline", &["disk"]);
    build.environment = closed_port();
    assert_eq!(build.run().sha256("raw"), first().finished.sha256("raw"));
    fs::remove_file(&deb).unwrap();
    let stderr = build.fail();
    let expect = format!("the cache lacks {VICTIM} {}, and no mirror can be reached", victim.version);
    assert!(stderr.contains(&expect) && stderr.contains("127.0.0.1"), "{stderr}");
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_package_on_no_mirror_is_reported() {
    let (mut build, lock, victim, deb) = prepared("gone", &[]);
    fs::remove_file(&deb).unwrap();
    build.environment = only_mirror(&lock, &[(VICTIM, Fault::Unavailable)]);
    let stderr = build.fail();
    let expect = format!("no mirror has {VICTIM} {} any more: `", victim.version);
    assert!(stderr.contains(&expect) && stderr.contains("keelson image lock`"), "{stderr}");
}

/// Uses this host's real mirrors, which have only a newer version of the package. Tests the resolved packages and the
/// version's mark, not the image.
#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_package_that_every_mirror_dropped_is_taken_anew_and_the_version_marked() {
    let build = Build::new("anew");
    let path = build.checkout.join("os/packages.lock");
    let good = Lock::read(&path).unwrap();
    let mut old = good.clone();
    let victim = old.packages.iter_mut().find(|package| package.name == VICTIM).unwrap();
    victim.version = "0.1-1".into();
    victim.path = format!("pool/main/s/{VICTIM}/{VICTIM}_0.1-1_amd64.deb");
    victim.sha256 = "0".repeat(64);
    old.write(&path).unwrap();
    let text = fs::read(&path).unwrap();
    let options = Options {
        work: build.work.clone(),
        cache: Options::for_checkout(&checkout()).cache,
        ..Options::for_checkout(&build.checkout)
    };
    let request = Request::read(&build.checkout.join("os/packages")).unwrap();
    let apt = options.apt_folder();
    match fill_cache(&options, Progress::Visible) {
        Err(BuildError::Fetch(FetchError::Download { .. })) => {
            let test = "packages::a_package_that_every_mirror_dropped_is_taken_anew_and_the_version_marked";
            skip(test, "no mirror answers");
            return;
        }
        Err(BuildError::Fetch(FetchError::Unavailable(gone))) => assert_eq!(gone[0].name, VICTIM),
        other => panic!("a version that never was is there: {other:?}"),
    }
    let renewed = fill_cache(&Options { renew_missing: true, ..options }, Progress::Visible).unwrap();
    assert!(renewed.version.ends_with("+renewed"), "{}", renewed.version);
    let changes = renewed.lock.changes_since(&old);
    let victim = format!("{VICTIM} 0.1-1 -> ");
    assert!(changes.iter().any(|change| change.starts_with(&victim)), "{changes:?}");
    // Identical to what apt resolves today.
    let newest = resolve(&request, &Mirrors::of_host().unwrap(), &apt).unwrap();
    assert_eq!(renewed.lock, newest);
    assert_eq!(fs::read(&path).unwrap(), text, "the checkout's lock was written");
}
