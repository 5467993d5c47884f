//! What is removed, and what remains.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use oci_image::Digest;
use oci_store::{GcError, Store};

use crate::images::{config, docker_archive, import_options, layer, listing, unpack_options};

fn import(store: &Store, lines: &[&str]) -> Digest {
    let layers: Vec<_> = lines.iter().map(|line| layer(&[line])).collect();
    let archive = docker_archive(&config(&layers), &layers, &[]);
    store.import_archive(Cursor::new(archive), &import_options()).unwrap()[0].manifest
}

fn count(folder: &Path, name: &str) -> usize {
    fs::read_dir(folder.join(name)).unwrap().count()
}

#[test]
fn content_without_image_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (first, second) = (import(&store, &["f a 1", "f b 2"]), import(&store, &["f a 1", "f c 3"]));
    drop(store.unpack(first, &unpack_options()).unwrap());
    drop(store.unpack(second, &unpack_options()).unwrap());
    // Manifest, configuration and two layers each, of which one is common.
    assert_eq!((count(folder.path(), "blobs/sha256"), count(folder.path(), "trees")), (7, 2));
    let nothing = store.gc(None, &|_| false).unwrap();
    assert_eq!((nothing.images.len(), nothing.blobs, nothing.trees), (0, 0, 0));
    store.remove(first).unwrap();
    assert_eq!((count(folder.path(), "blobs/sha256"), count(folder.path(), "trees")), (4, 1));
    assert!(store.unpack(first, &unpack_options()).is_err());
    let tree = store.unpack(second, &unpack_options()).unwrap();
    assert_eq!(listing(&tree.rootfs()), ["f a 1", "f c 3"]);
    assert!(store.remove(first).unwrap_err().to_string().contains("the store has no image"));
}

#[test]
fn unused_images_are_removed_unless_a_tree_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (used, unused) = (import(&store, &["f a 1"]), import(&store, &["f b 2"]));
    let tree = store.unpack(used, &unpack_options()).unwrap();
    assert_eq!(store.gc(Some(Duration::from_secs(3600)), &|_| false).unwrap().images, []);
    assert_eq!(store.gc(Some(Duration::ZERO), &|image| image == unused).unwrap().images, []);
    assert_eq!(store.gc(Some(Duration::ZERO), &|_| false).unwrap().images, [unused]);
    assert_eq!(listing(&tree.rootfs()), ["f a 1"]);
    // Also if its image is removed.
    store.remove(used).unwrap();
    assert_eq!(listing(&tree.rootfs()), ["f a 1"]);
    drop(tree);
    assert_eq!(store.gc(None, &|_| false).unwrap().trees, 1);
    assert_eq!((count(folder.path(), "blobs/sha256"), count(folder.path(), "trees")), (0, 0));
}

/// A start of a pod does not wait for the disk because of it.
#[test]
fn a_recent_use_is_not_recorded_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let image = import(&store, &["f a 1"]);
    let path = folder.path().join(format!("images/{}.json", image.hex()));
    let used = |seconds_ago: i64| {
        let mut record = store.image(image).unwrap().unwrap();
        record.last_used = record.imported.checked_add_signed(-seconds_ago).unwrap();
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        let before = record.last_used;
        drop(store.unpack(image, &unpack_options()).unwrap());
        store.image(image).unwrap().unwrap().last_used != before
    };
    // Also after the clock was set back.
    assert_eq!([used(0), used(30), used(100), used(-100_000)], [false, false, true, true]);
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let image = import(&store, &["f a 1"]);
    let write = |path: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    };
    write("tmp/tree-abc/rootfs/a");
    write("tmp/blob-abc");
    let partial = format!("tmp/partial-{}", Digest::of(b"x").hex());
    write(&partial);
    store.gc(None, &|_| false).unwrap();
    assert_eq!(listing(&folder.path().join("tmp")), [format!("f {} x", &partial[4..])]);
    // An interrupted transfer is kept for a day.
    let file = fs::File::options().write(true).open(folder.path().join(&partial)).unwrap();
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 3600)).unwrap();
    store.gc(None, &|_| false).unwrap();
    assert_eq!(listing(&folder.path().join("tmp")), [""; 0]);
    store.unpack(image, &unpack_options()).unwrap().verify().unwrap();
}

#[test]
fn a_damaged_image_stops_the_collection() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (image, other) = (import(&store, &["f a 1"]), import(&store, &["f b 2"]));
    fs::write(folder.path().join("blobs/sha256").join(image.hex()), "{}").unwrap();
    let blobs = count(folder.path(), "blobs/sha256");
    let error = store.gc(None, &|_| false).unwrap_err().to_string();
    assert!(error.contains("is damaged"), "{error}");
    assert_eq!(count(folder.path(), "blobs/sha256"), blobs);
    store.remove(image).unwrap();
    store.unpack(other, &unpack_options()).unwrap().verify().unwrap();
}

#[test]
fn other_operations_are_not_disturbed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let image = import(&store, &["f a 1"]);
    // Another operation, perhaps of another process.
    let file = fs::File::options().write(true).open(folder.path().join("lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockShared).unwrap();
    assert!(matches!(store.gc(Some(Duration::ZERO), &|_| false), Err(GcError::Busy)));
    store.unpack(image, &unpack_options()).unwrap();
    drop(lock);
    assert_eq!(store.gc(Some(Duration::ZERO), &|_| false).unwrap().images, [image]);
}
