//! Published versions.

use rollout::{File, Image, Images, OperateError};

use crate::support::{MemoryStorage, START, initial_state, package, track};

fn images(list: &str) -> Images {
    let file = |name: &str, sha256: &str| File {
        name: name.into(),
        size: 10,
        sha256: sha256.into(),
        sha1: String::new(),
    };
    let image = Image {
        file: file("keelson-2.0.0-alpha.raw.zst", "11"),
        channel: "alpha".into(),
        format: "raw.zst".into(),
        digests: [("md5".to_owned(), "22".to_owned())].into(),
    };
    Images { list: file("images.json", list), files: vec![image], files_at: None }
}

#[test]
fn images_of_a_version_are_kept_and_cannot_be_replaced() {
    let (mut state, mut storage) = (initial_state(), MemoryStorage::default());
    let version = "2.0.0".parse().unwrap();
    state.set_images("keelson", &version, "amd64", images("00")).unwrap();
    let moved = Images { files_at: Some("http://cdn/".into()), ..images("00") };
    state.set_images("keelson", &version, "amd64", moved.clone()).unwrap();
    let other = state.set_images("keelson", &version, "amd64", images("01"));
    assert_eq!(other, Err(OperateError::ContentsDiffer(version.clone())));
    let missing = state.set_images("keelson", &version, "aarch64", images("00"));
    assert_eq!(missing, Err(OperateError::PackageNotFound(version.clone(), "aarch64".to_owned())));
    let mut many = images("00");
    many.files = vec![many.files[0].clone(); 129];
    assert!(matches!(
        state.set_images("keelson", &version, "amd64", many),
        Err(OperateError::LimitExceeded { what: "files", .. })
    ));
    // The version is published again.
    state.add_package("keelson", package("2.0.0")).unwrap();
    storage.persist(&mut state);
    let (_, app) = state.app("keelson").unwrap();
    assert_eq!(app.package(&version, "amd64").unwrap().images.as_ref(), Some(&moved));
    let loaded = storage.load();
    assert_eq!(loaded.app("keelson").unwrap().1.package(&version, "amd64").unwrap().images, Some(moved));
}

#[test]
fn a_channel_knows_the_versions_that_it_had() {
    let (mut state, mut storage) = (initial_state(), MemoryStorage::default());
    let alpha = track("alpha");
    for version in [Some("1.0.0"), Some("3.0.0"), None, Some("2.0.0")] {
        let version = version.map(|version| version.parse().unwrap());
        state.point_channel("keelson", &alpha, version.as_ref(), START).unwrap();
    }
    let had = |state: &rollout::UpdateState| {
        let channel = &state.app("keelson").unwrap().1.channels[&alpha];
        ["1.0.0", "2.0.0", "3.0.0", "4.0.0"].map(|version| channel.has_had(&version.parse().unwrap()))
    };
    assert_eq!(had(&state), [true, true, true, false]);
    assert!(!state.app("keelson").unwrap().1.channels[&track("beta")].has_had(&"1.0.0".parse().unwrap()));
    state.remove_package("keelson", &"1.0.0".parse().unwrap(), "amd64").unwrap();
    assert_eq!(had(&state), [false, true, true, false]);
    storage.persist(&mut state);
    assert_eq!(had(&storage.load()), [false, true, true, false]);
}

/// Files that another server has are not hashed again, so their SHA-1 is unknown.
#[test]
fn files_of_a_version_move_to_another_server_and_back() {
    let mut state = initial_state();
    let package = |sha1: &str, files_at: Option<&str>| {
        let mut package = package("5.0.0");
        package.payload.sha1 = sha1.to_owned();
        package.files_at = files_at.map(str::to_owned);
        package
    };
    for (sha1, files_at) in
        [("", Some("http://cdn/")), ("c2hhMQ==", None), ("", Some("http://cdn/")), ("", None)]
    {
        state.add_package("keelson", package(sha1, files_at)).unwrap();
    }
    let mut other = package("", None);
    other.payload.size += 1;
    assert!(state.add_package("keelson", other).is_err());
    assert!(state.add_package("keelson", package("b3RoZXI=", None)).is_err(), "the SHA-1 is kept");
}
