//! Images from files.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;

use oci_image::signature::{Signatures, Trust};
use oci_image::{Digest, Layer, Manifest, media_type::Compression};
use oci_store::{ImportOptions, Store, TrustPolicy};
use serde_json::{Value, json};

use crate::images::{
    Entry, NAME, archive, chain, config, config_for, docker_archive, file, gzip, import_options, layer,
    listing, unpack_options, zstd,
};

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("store")).unwrap()
}

/// Imports an archive. `expected`: names and the files of the only image, or an excerpt of the error, after which the store
/// has no image.
fn check(bytes: &[u8], options: &ImportOptions<'_>, expected: Result<(&[&str], &[&str]), &str>) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    match (store.import_archive(Cursor::new(bytes), options).map_err(|error| chain(&error)), expected) {
        (Ok(imported), Ok((names, files))) => {
            assert_eq!(imported.len(), 1);
            assert_eq!(imported[0].names, names);
            let record = store.image(imported[0].manifest).unwrap().unwrap();
            assert!(record.names.keys().eq(names), "{record:?}");
            for name in names {
                assert_eq!(store.find(&name.parse().unwrap()).unwrap().as_ref(), Some(&record));
            }
            let tree = store.unpack(record.manifest, &unpack_options()).unwrap();
            assert_eq!(listing(&tree.rootfs()), files);
            assert_eq!(store.config(record.manifest).unwrap().config.env.as_ref().unwrap(), &["A=1"]);
        }
        (Err(error), Err(excerpt)) => {
            assert!(error.contains(excerpt), "{error}");
            assert_eq!(store.images().unwrap(), []);
        }
        (found, _) => panic!("{found:?}, expected {expected:?}"),
    }
    assert_eq!(listing(&folder.path().join("store/tmp")), [""; 0]);
}

#[test]
fn archives_of_docker_save() {
    let layers = [layer(&["f a 1"]), layer(&["f b 2"])];
    let options = import_options();
    let files: &[&str] = &["f a 1", "f b 2"];
    let plain = docker_archive(&config(&layers), &layers, &["test:1", NAME]);
    let names: &[&str] = &["docker.io/library/test:1", NAME];
    check(&plain, &options, Ok((names, files)));
    check(&gzip(&plain), &options, Ok((names, files)));
    check(&zstd(&plain), &options, Ok((names, files)));
    check(
        &docker_archive(&config(&layers), &[gzip(&layers[0]), zstd(&layers[1])], &[]),
        &options,
        Ok((&[], files)),
    );
    let named = ImportOptions { name: Some(NAME.parse().unwrap()), ..import_options() };
    check(&plain, &named, Ok((&[NAME], files)));
    check(
        &docker_archive(&config(&layers[..1]), &layers, &[]),
        &options,
        Err("1 diff ids, but the manifest has 2 layers"),
    );
    check(
        &docker_archive(b"{}", &layers, &[]),
        &options,
        Err("config.json: the image configuration cannot be parsed"),
    );
    check(
        &docker_archive(&config_for("s390x", &layers), &layers, &[]),
        &options,
        Err("is for linux/s390x, not for"),
    );
    check(
        &docker_archive(&config(&layers), &layers, &["A B"]),
        &options,
        Err("image name \"A B\" in the file"),
    );
    check(&plain[..plain.len() / 2], &options, Err("archive"));
    check(&gzip(&plain)[..200], &options, Err("the archive cannot be read"));
    check(b"", &options, Err("neither an OCI layout"));
    check(&layer(&["f a 1"]), &options, Err("neither an OCI layout"));
    check(b"\xfd7zXZ\0 and more", &options, Err("compressed by xz or bzip2"));
    let small = ImportOptions { bytes: 1000, ..import_options() };
    check(&plain, &small, Err("more than 1000 bytes"));
}

#[test]
fn links_and_paths_stay_in_the_archive() {
    let layers = [layer(&["f a 1"])];
    let build = |manifest: Value, more: &[&str]| {
        let mut entries = vec![file("config.json", &config(&layers)), file("x/layer.tar", &layers[0])];
        entries.extend(more.iter().map(|line| Entry::parse(line)));
        entries.push(file("manifest.json", manifest.to_string().as_bytes()));
        archive(&entries)
    };
    let list = |layer: &str| json!([{ "Config": "./config.json", "RepoTags": null, "Layers": [layer] }]);
    let options = import_options();
    check(&build(list("y/layer.tar"), &["l y/layer.tar ../x/layer.tar"]), &options, Ok((&[], &["f a 1"])));
    check(&build(list("y.tar"), &["h y.tar x/layer.tar"]), &options, Ok((&[], &["f a 1"])));
    check(&build(list("y.tar"), &["l y.tar y.tar"]), &options, Err("lacks y.tar"));
    check(&build(list("missing"), &[]), &options, Err("lacks missing"));
    check(&build(list("../../etc/passwd"), &[]), &options, Err("no path within the archive"));
    check(&build(list("/etc/passwd"), &[]), &options, Err("no path within the archive"));
    check(
        &build(list("x/layer.tar"), &["l y ../../etc/passwd"]),
        &options,
        Err("no path within the archive"),
    );
    check(&build(list("x/layer.tar"), &["f ../y 1"]), &options, Err("no path within the archive"));
    check(&build(json!([]), &[]), &options, Err("the file has no image"));
    check(&build(json!({}), &[]), &options, Err("manifest.json is invalid"));
}

/// Files of an OCI layout with one image, and the image's digest.
fn layout(layers: &[Vec<u8>], annotations: Value) -> (Vec<(String, Vec<u8>)>, Digest) {
    let blob = |bytes: &[u8]| oci_image::Blob { digest: Digest::of(bytes), size: bytes.len() as u64 };
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let config = config(layers);
    let manifest = Manifest {
        config: blob(&config),
        layers: layers
            .iter()
            .map(|layer| Layer { blob: blob(layer), compression: Compression::None })
            .collect(),
    }
    .to_json();
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(&manifest), "size": manifest.len(), "annotations": annotations,
    });
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor] }).to_string().into_bytes();
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index),
    ];
    let blobs = layers.iter().chain([&config, &manifest]);
    files.extend(blobs.map(|bytes| (path(bytes), bytes.clone())));
    (files, Digest::of(&manifest))
}

fn check_layout(files: &[(String, Vec<u8>)], expected: Result<(&[&str], &[&str]), &str>) {
    let entries: Vec<_> = files.iter().map(|(path, bytes)| file(path, bytes)).collect();
    check(&archive(&entries), &import_options(), expected);
    // The same files as a directory.
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("layout");
    for (path, bytes) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let store = open(folder.path());
    match (store.import_layout(&directory, &import_options()).map_err(|error| chain(&error)), expected) {
        (Ok(imported), Ok((names, files))) => {
            assert_eq!(imported[0].names, names);
            let tree = store.unpack(imported[0].manifest, &unpack_options()).unwrap();
            assert_eq!(listing(&tree.rootfs()), files);
        }
        (Err(_), Err(_)) => assert_eq!(store.images().unwrap(), []),
        (found, _) => panic!("{found:?}, expected {expected:?}"),
    }
}

#[test]
fn layouts_as_archive_and_directory() {
    let layers = [layer(&["f a 1"]), layer(&["f b 2"])];
    let full = json!({ "io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "1" });
    check_layout(&layout(&layers, full).0, Ok((&[NAME], &["f a 1", "f b 2"])));
    let tag = json!({ "org.opencontainers.image.ref.name": "latest" });
    check_layout(&layout(&layers, tag).0, Ok((&[], &["f a 1", "f b 2"])));
    check_layout(&layout(&layers, json!({})).0, Ok((&[], &["f a 1", "f b 2"])));
    let change = |number: usize, bytes: &[u8]| {
        let mut files = layout(&layers, json!({})).0;
        files[number].1 = bytes.to_vec();
        files
    };
    check_layout(&change(0, br#"{"imageLayoutVersion":"2.0.0"}"#), Err("layout version is \"2.0.0\""));
    check_layout(&change(0, b"x"), Err("oci-layout is invalid"));
    check_layout(&change(1, b"{}"), Err("index.json"));
    check_layout(&change(2, b"other content"), Err("has another content than its name"));
    let lacks = |number: usize| {
        let mut files = layout(&layers, json!({})).0;
        files.remove(number);
        files
    };
    check_layout(&lacks(3), Err("lacks sha256:"));
    check_layout(&lacks(5), Err("lacks sha256:"));
}

#[test]
fn a_layout_directory_is_not_followed_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("layout");
    fs::create_dir(&directory).unwrap();
    symlink("/etc/passwd", directory.join("oci-layout")).unwrap();
    let error = open(folder.path()).import_layout(&directory, &import_options()).unwrap_err();
    assert!(chain(&error).contains("symbolic links"), "{}", chain(&error));
    fs::remove_file(directory.join("oci-layout")).unwrap();
    nix::unistd::mkfifo(&directory.join("oci-layout"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = open(folder.path()).import_layout(&directory, &import_options()).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
}

#[test]
fn archives_of_a_root_file_system() {
    let rootfs = layer(&["f a 1", "l b a"]);
    let architecture = oci_image::Platform::linux(std::env::consts::ARCH).to_string();
    let architecture = architecture.strip_prefix("linux/").unwrap();
    let check = |bytes: &[u8], expected: Result<(), &str>| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let options = ImportOptions { name: Some(NAME.parse().unwrap()), bytes: 1 << 16, ..import_options() };
        match (store.import_rootfs(Cursor::new(bytes), architecture, &options), expected) {
            (Ok(imported), Ok(())) => {
                assert_eq!(imported.names, [NAME]);
                let tree = store.unpack(imported.manifest, &unpack_options()).unwrap();
                assert_eq!(listing(&tree.rootfs()), ["f a 1", "l b a"]);
            }
            (Err(error), Err(excerpt)) => assert!(chain(&error).contains(excerpt), "{}", chain(&error)),
            (found, _) => panic!("{found:?}"),
        }
    };
    check(&rootfs, Ok(()));
    check(&gzip(&rootfs), Ok(()));
    check(&zstd(&rootfs), Ok(()));
    check(b"no archive", Err("archive"));
    check(b"", Err("the archive is empty"));
    check(&[rootfs.clone(), vec![0; 1 << 17]].concat(), Err("more bytes than permitted"));
    check(&gzip(&[rootfs, vec![0; 1 << 17]].concat()), Err("the unpacked data exceeds its limit"));
}

#[test]
fn a_name_belongs_to_one_image() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let import = |text: &str, name: &str| {
        let layers = [layer(&[text])];
        store
            .import_archive(
                Cursor::new(docker_archive(&config(&layers), &layers, &[name])),
                &import_options(),
            )
            .unwrap()[0]
            .manifest
    };
    let (first, second) = (import("f a 1", "a:1"), import("f a 2", "a:1"));
    let found = |name: &str| store.find(&name.parse().unwrap()).unwrap().map(|image| image.manifest);
    assert_eq!(found("a:1"), Some(second));
    assert!(store.image(first).unwrap().unwrap().names.is_empty());
    assert_eq!(import("f a 1", "a:2"), first);
    assert_eq!((found("a:1"), found("a:2"), found("a:3")), (Some(second), Some(first), None));
    assert_eq!(found(&format!("other@{first}")), Some(first));
}

#[test]
fn signatures_are_required_unless_insecure() {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let mut trust = Trust::default();
    trust.add("example.com/test", "team.pub", &pair.pk.to_base64()).unwrap();
    let layers = [layer(&["f a 1"])];
    let (files, digest) = layout(&layers, json!({ "io.containerd.image.name": NAME }));
    let entries: Vec<_> = files.iter().map(|(path, bytes)| file(path, bytes)).collect();
    let bytes = archive(&entries);
    let sign = |text: String| {
        let signature = minisign::sign(None, &pair.sk, text.as_bytes(), None, None).unwrap().into_string();
        Signatures { minisign: vec![signature], ..Signatures::default() }
    };
    let check = |trust: &Trust, signatures: Signatures, expected: Result<&str, &str>| {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let options = ImportOptions { trust: TrustPolicy::Require(trust), signatures, ..import_options() };
        match (store.import_archive(Cursor::new(&bytes), &options), expected) {
            (Ok(imported), Ok(key)) => {
                let record = store.image(imported[0].manifest).unwrap().unwrap();
                assert_eq!(record.names[NAME].as_deref(), Some(key));
            }
            (Err(error), Err(excerpt)) => {
                assert!(chain(&error).contains(excerpt), "{}", chain(&error));
                assert_eq!(store.images().unwrap(), []);
            }
            (found, _) => panic!("{found:?}"),
        }
    };
    check(&trust, sign(digest.to_string()), Ok("team.pub"));
    check(&trust, Signatures::default(), Err("has no signature"));
    check(&trust, sign(Digest::of(b"other").to_string()), Err("no signature of example.com/test/image:1"));
    check(&Trust::default(), sign(digest.to_string()), Err("no key is trusted"));
    // The signer of one name adds another.
    let bytes = docker_archive(&config(&layers), &layers, &[NAME, "example.com/other/image:1"]);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let image = store.import_archive(Cursor::new(&bytes), &import_options()).unwrap()[0].manifest;
    store.remove(image).unwrap();
    let signatures = sign(image.to_string());
    let options = ImportOptions { trust: TrustPolicy::Require(&trust), signatures, ..import_options() };
    let error = store.import_archive(Cursor::new(&bytes), &options).unwrap_err();
    assert!(chain(&error).contains("no key is trusted for example.com/other/image:1"), "{}", chain(&error));
    assert_eq!(store.images().unwrap(), []);
}
