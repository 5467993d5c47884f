//! Layers become one tree; nothing of an image lands outside of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use oci_image::Digest;
use oci_image::digest::chain_id;
use oci_store::{DeviceNodes, Owners, Store, Tree, UnpackLimits, UnpackOptions};

use crate::images::{
    Entry, append, archive, chain, config, docker_archive, file, gzip, import_options, is_root, layer,
    listing, mode, unpack_options, zstd,
};

fn imported(store: &Store, layers: &[Vec<u8>]) -> Digest {
    let archive = docker_archive(&config(layers), layers, &[]);
    store.import_archive(archive.as_slice(), &import_options()).unwrap()[0].manifest
}

/// Unpacks layers; the error with its causes.
pub fn unpack(store: &Store, layers: &[Vec<u8>], options: &UnpackOptions) -> Result<Tree, String> {
    let tree = store.unpack(imported(store, layers), options).map_err(|error| chain(&error));
    let leftovers = listing(&store_folder(store, "tmp"));
    assert!(leftovers.is_empty(), "left in tmp: {leftovers:?}");
    if let Ok(tree) = &tree {
        tree.verify().unwrap();
    }
    tree
}

fn store_folder(store: &Store, name: &str) -> std::path::PathBuf {
    // The store displays no path of its own; its debug form has it.
    let text = format!("{store:?}");
    let path = text.split('"').nth(1).unwrap();
    std::path::Path::new(path).join(name)
}

/// `expected`: the listing, or an excerpt of the error.
fn check(layers: &[&[&str]], expected: Result<&[&str], &str>) {
    check_with(&unpack_options(), layers, expected);
}

fn check_with(options: &UnpackOptions, layers: &[&[&str]], expected: Result<&[&str], &str>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let archives: Vec<_> = layers.iter().map(|lines| layer(lines)).collect();
    match (unpack(&store, &archives, options), expected) {
        (Ok(tree), Ok(lines)) => assert_eq!(listing(&tree.rootfs()), lines, "{layers:?}"),
        (Err(error), Err(excerpt)) => {
            assert!(error.contains(excerpt), "{layers:?}: {error}");
            assert!(listing(&store_folder(&store, "trees")).is_empty(), "{layers:?}");
        }
        (found, _) => panic!("{layers:?}: {found:?}, expected {expected:?}"),
    }
}

#[test]
fn layers_lie_over_one_another() {
    check(&[], Ok(&[]));
    check(&[&["d ./"]], Ok(&[]));
    check(&[&["f a 1", "f d/e/f 2"]], Ok(&["d d", "d d/e", "f a 1", "f d/e/f 2"]));
    check(&[&["f a 1"], &["f a 2"]], Ok(&["f a 2"]));
    check(&[&["f a 1", "f a 2"]], Ok(&["f a 2"]));
    check(&[&["d a", "f a/b 1"], &["f a 2"]], Ok(&["f a 2"]));
    check(&[&["f a 1"], &["d a", "f a/b 2"]], Ok(&["d a", "f a/b 2"]));
    check(&[&["d a", "f a/b 1"], &["d a"]], Ok(&["d a", "f a/b 1"]));
    check(&[&["l a b"], &["d a"]], Ok(&["d a"]));
    check(&[&["f b 1", "l a b"], &["f a 2"]], Ok(&["f a 2", "f b 1"]));
    check(&[&["p a"]], Ok(&["p a"]));
    check(&[&["f a 1", "h b a", "h a a"]], Ok(&["f a 1", "f b 1"]));
    check(&[&["f a 1"], &["h b ./a"], &["h b /a"]], Ok(&["f a 1", "f b 1"]));
    check(&[&["l a x", "h b a"]], Ok(&["l a x", "l b x"]));
}

#[test]
fn whiteouts_remove_lower_layers() {
    check(&[&["f a 1", "f b 2"], &["f .wh.a"]], Ok(&["f b 2"]));
    check(&[&["f d/a/b 1", "f d/c 2"], &["f d/.wh.a"]], Ok(&["d d", "f d/c 2"]));
    check(&[&["f a 1"], &["f .wh.missing"]], Ok(&["f a 1"]));
    check(&[&["f d/a 1", "f d/b/c 2"], &["f d/.wh..wh..opq", "f d/new 3"]], Ok(&["d d", "f d/new 3"]));
    // In any order: a whiteout concerns lower layers only.
    check(&[&["f d/a 1"], &["f d/new 3", "f d/.wh..wh..opq"]], Ok(&["d d", "f d/new 3"]));
    check(&[&["f d/s/a 1"], &["f d/s/new 3", "f d/.wh..wh..opq"]], Ok(&["d d", "d d/s", "f d/s/new 3"]));
    check(&[&["f a 1"], &["f a 2", "f .wh.a"]], Ok(&["f a 2"]));
    check(&[&["f a 1"], &["h b a", "f .wh.a"]], Ok(&["f b 1"]));
    check(&[&["f a 1"], &["f .wh..wh.plnk", "f .wh..wh.aufs"]], Ok(&["f a 1"]));
    check(&[&["f a 1"], &["f .wh.."]], Err("`..`"));
    check(&[&["f a 1"], &["f d/.wh..."]], Err("`..`"));
    // A link is removed, not what it leads to.
    check(&[&["f d/a 1", "l l d"], &["f .wh.l"]], Ok(&["d d", "f d/a 1"]));
    check(&[&["f d/a 1", "l l /d"], &["f l/.wh.a"]], Ok(&["d d", "l l /d"]));
}

#[test]
fn nothing_leaves_the_tree() {
    check(&[&["f ../a 1"]], Err("`..`"));
    check(&[&["f a/../../b 1"]], Err("`..`"));
    check(&[&["f /a 1"]], Ok(&["f a 1"]));
    // The tree is the root of its links, as it is for the container.
    check(&[&["l l /", "f l/a 1"]], Ok(&["f a 1", "l l /"]));
    check(&[&["l l ../../../..", "f l/etc/a 1"]], Ok(&["d etc", "f etc/a 1", "l l ../../../.."]));
    check(&[&["d x", "l x/l ../..", "f x/l/a 1"]], Ok(&["d x", "f a 1", "l x/l ../.."]));
    check(&[&["l var/run /run"], &["f var/run/a 1"]], Ok(&["d run", "d var", "f run/a 1", "l var/run /run"]));
    check(&[&["l l l", "f l/a 1"]], Err("symbolic links"));
    check(&[&["l l /etc/passwd", "f l 1"]], Ok(&["f l 1"]));
    check(&[&["h a ../b"]], Err("`..`"));
    check(&[&["h a /etc/passwd"]], Err("\"etc/passwd\", is not in the image"));
    check(&[&["l l /", "h a l/etc/passwd"]], Err("is not in the image"));
    check(&[&["d d", "h a d"]], Err("is not in the image"));
    check(&[&["h a ."]], Err("is not in the image"));
    check(&[&["f a 1", "f a/b 2"]], Err("Not a directory"));
    check(&[&["f . 1"]], Err("only a folder can be the root"));
    check(&[&["l a"]], Err("a link without a target"));
    check(&[&["? a"]], Err("an entry of type '?'"));
}

#[test]
fn names_and_depth_are_limited() {
    let name = "n".repeat(255);
    check(&[&[&format!("f {name} 1")]], Ok(&[&format!("f {name} 1")]));
    check(&[&[&format!("f {name}n 1")]], Err("more than 255 bytes"));
    check(&[&[&format!("f {} 1", "n/".repeat(2100))]], Err("more than 4096 bytes"));
    check(&[&[&format!("f {}a 1", "n/".repeat(128))]], Err("more than 128 folders"));
    // A link to a deep folder, and a deep path behind it.
    let deep = "n/".repeat(70);
    let lines = [format!("f {deep}a 1"), format!("l l {deep}"), format!("f l/{deep}a 1")];
    check(&[&lines.each_ref().map(String::as_str)], Err("more than 128 folders"));
}

#[test]
fn devices_follow_the_options() {
    let with = |devices| UnpackOptions { devices, ..unpack_options() };
    let layers: &[&[&str]] = &[&["c dev/null", "b dev/disk", "f a 1"]];
    check(layers, Err("images with devices are refused"));
    check_with(&with(DeviceNodes::Skip), layers, Ok(&["d dev", "f a 1"]));
    if !is_root() {
        eprintln!("SKIPPED: devices_follow_the_options: creating device nodes needs root");
        return;
    }
    check_with(&with(DeviceNodes::Create), layers, Ok(&["c dev/disk", "c dev/null", "d dev", "f a 1"]));
}

#[test]
fn sizes_are_limited() {
    let with = |bytes, entries| UnpackOptions { limits: UnpackLimits { bytes, entries }, ..unpack_options() };
    check_with(&with(4, 100), &[&["f a 12"], &["f b 34"]], Ok(&["f a 12", "f b 34"]));
    check_with(&with(3, 100), &[&["f a 12"], &["f b 34"]], Err("exceed the limit of bytes"));
    check_with(&with(100, 2), &[&["f a", "f b", "f c"]], Err("exceeds the limit of entries"));
    check_with(&with(100, 4), &[&["f a/b/c/d/e/f"]], Err("exceeds the limit of entries"));
}

/// Layers that only a hand-written header has.
#[test]
fn lengths_in_headers_are_not_believed() {
    let check = |layers: &[Vec<u8>], excerpt: &str| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let error = unpack(&store, layers, &unpack_options()).unwrap_err();
        assert!(error.contains(excerpt), "{error}");
    };
    let plain = Entry::parse("f a");
    let mut short = Vec::new();
    append(&mut short, &plain.header(1 << 20), b"short");
    check(&[short], "the content ends after 512 of 1048576 bytes");
    let mut large = Vec::new();
    append(&mut large, &plain.header(1 << 40), b"");
    check(&[large], "exceed the limit of bytes");
    // A name of 8 MiB, compressed to a few bytes.
    let mut long = Vec::new();
    let name = vec![b'a'; 8 << 20];
    append(&mut long, &Entry::parse("L x").header(name.len() as u64), &name);
    append(&mut long, &plain.header(0), b"");
    check(&[long], "the headers of one entry exceed their limit");
    // A stream of zeros behind the archive's end.
    check(&[[layer(&["f a 1"]), vec![0; 100 << 20]].concat()], "the unpacked data exceeds its limit");
    check(&[b"no archive".repeat(100)], "no readable tar archive");
    let mut mode = Entry::parse("f a").header(0);
    mode.as_old_mut().mode = *b"9999999\0";
    mode.set_cksum();
    let mut invalid = Vec::new();
    append(&mut invalid, &mode, b"");
    check(&[invalid], "the mode in its header is no valid number");
    let owner = Entry { owner: u64::from(u32::MAX), ..plain };
    check(&[archive(&[owner])], "the owner in its header is no valid number");
}

#[test]
fn compressed_layers_have_the_digest_of_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let plain = [layer(&["f a 1"]), layer(&["f b 2"]), layer(&["f c 3"])];
    let (first, second) = plain[2].split_at(700);
    let parts = [gzip(first), gzip(second)].concat();
    let stored = [gzip(&plain[0]), zstd(&plain[1]), parts];
    let check = |config: &[u8], expected: Result<&[&str], &str>| {
        let archive = docker_archive(config, &stored, &[]);
        let image = store.import_archive(archive.as_slice(), &import_options()).unwrap()[0].manifest;
        match (store.unpack(image, &unpack_options()).map_err(|error| chain(&error)), expected) {
            (Ok(tree), Ok(lines)) => assert_eq!(listing(&tree.rootfs()), lines),
            (Err(error), Err(excerpt)) => assert!(error.contains(excerpt), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    };
    check(&config(&plain), Ok(&["f a 1", "f b 2", "f c 3"]));
    let other = [plain[0].clone(), plain[1].clone(), layer(&["f c 4"])];
    check(&config(&other), Err("layer 3 of image"));
    check(&config(&stored), Err("layer 1 of image"));
}

#[test]
fn a_chain_of_layers_is_unpacked_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let layers = [layer(&["f a 1"]), layer(&["f b 2"])];
    let first = unpack(&store, &layers, &unpack_options()).unwrap();
    let inode = fs::metadata(first.rootfs()).unwrap().ino();
    // Another image with the same layers, compressed.
    let stored = [gzip(&layers[0]), zstd(&layers[1])];
    let archive = docker_archive(&config(&layers), &stored, &[]);
    let image = store.import_archive(archive.as_slice(), &import_options()).unwrap()[0].manifest;
    let second = store.unpack(image, &unpack_options()).unwrap();
    assert_eq!((second.rootfs(), fs::metadata(second.rootfs()).unwrap().ino()), (first.rootfs(), inode));
    let chain = chain_id(&layers.each_ref().map(|layer| Digest::of(layer))).unwrap();
    assert!(first.rootfs().to_string_lossy().contains(&chain.hex()));
    // Concurrent calls build one tree.
    let image = imported(&store, &[layer(&["f c 3"])]);
    let unpacked = || store.unpack(image, &unpack_options()).unwrap().rootfs();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(unpacked)).collect();
        threads.into_iter().for_each(|thread| assert_eq!(listing(&thread.join().unwrap()), ["f c 3"]));
    });
    assert!(listing(&folder.path().join("tmp")).is_empty());
}

#[test]
fn the_stores_own_path_may_have_links() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
    let store = Store::open(&folder.path().join("link/../link/store")).unwrap();
    let tree = unpack(&store, &[layer(&["f a/b 1"])], &unpack_options()).unwrap();
    assert_eq!(listing(&tree.rootfs()), ["d a", "f a/b 1"]);
}

/// GNU tar has a format for holes that tar's reader does not know.
#[test]
fn files_with_holes() {
    let check = |xattr: &str, expected: Result<&[&str], &str>| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut lines =
            archive(&[Entry { xattrs: vec![("user.a".to_owned(), b"1".to_vec())], ..file("a", b"x") }]);
        // As long as the attribute's name, so that the record is valid.
        let at = lines.windows(19).position(|part| part == b"SCHILY.xattr.user.a").unwrap();
        lines[at..at + 19].copy_from_slice(xattr.as_bytes());
        match (unpack(&store, &[lines], &unpack_options()), expected) {
            (Ok(tree), Ok(files)) => assert_eq!(listing(&tree.rootfs()), files),
            (Err(error), Err(excerpt)) => assert!(error.contains(excerpt), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    };
    check("SCHILY.xattr.user.a", Ok(&["f a x"]));
    check("GNU.sparse.realsize", Err("a file with holes"));
}

#[test]
fn metadata_is_the_images() {
    if !is_root() {
        eprintln!("SKIPPED: metadata_is_the_images: owners need root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    // Version 2, with CAP_NET_RAW in the permitted set.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    let ping = Entry {
        mode: 0o755,
        xattrs: vec![
            ("security.capability".to_owned(), capability.clone()),
            ("trusted.overlay.opaque".to_owned(), b"y".to_vec()),
        ],
        ..file("ping", b"x")
    };
    let layers = [archive(&[
        Entry { mode: 0o700, owner: 5, ..Entry::parse("d ./") },
        Entry { mode: 0o555, owner: 7, ..Entry::parse("d d") },
        Entry { mode: 0o4711, owner: 8, ..Entry::parse("f d/su x") },
        Entry { owner: 9, ..Entry::parse("l d/link su") },
        Entry { mode: 0o1777, ..Entry::parse("d tmp") },
        ping,
    ])];
    let tree = unpack(&store, &layers, &unpack_options()).unwrap();
    let root = tree.rootfs();
    for (path, expected_mode, owner) in
        [("", 0o700, 5), ("d", 0o555, 7), ("d/su", 0o4711, 8), ("d/link", 0o777, 9), ("tmp", 0o1777, 0)]
    {
        let metadata = fs::symlink_metadata(root.join(path)).unwrap();
        assert_eq!(
            (mode(&root.join(path)), metadata.uid(), metadata.gid()),
            (expected_mode, owner, owner),
            "{path}"
        );
        assert_eq!(metadata.mtime(), 1_000_000_000, "{path}");
    }
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(root.join("ping"), "security.capability", &mut value[..]).unwrap();
    assert_eq!(value[..length], capability);
    assert!(rustix::fs::getxattr(root.join("ping"), "trusted.overlay.opaque", &mut value[..]).is_err());
    // The caller's tree is another one.
    let options = UnpackOptions { owners: Owners::Caller, ..unpack_options() };
    let other = unpack(&store, &layers, &options).unwrap();
    assert_ne!(other.rootfs(), root);
    assert!(
        rustix::fs::getxattr(other.rootfs().join("ping"), "security.capability", &mut value[..]).is_err()
    );
    assert_eq!(fs::metadata(other.rootfs().join("d/su")).unwrap().uid(), 0);
}

#[test]
fn changes_of_a_tree_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let check = |number: usize, change: &dyn Fn(&std::path::Path), expected: &str| {
        let store = Store::open(&folder.path().join(number.to_string())).unwrap();
        let lines = ["f a 1", "f d/b 2", "l l a", "f d.x 3", "f \u{e9} 4"];
        let tree = unpack(&store, &[layer(&lines)], &unpack_options()).unwrap();
        change(&tree.rootfs());
        match tree.verify() {
            Ok(()) => assert_eq!(expected, "intact"),
            Err(error) => assert!(error.to_string().starts_with(expected), "{error}"),
        }
    };
    check(0, &|_| (), "intact");
    check(1, &|root| fs::write(root.join("a"), "2").unwrap(), "/a differs");
    check(2, &|root| fs::write(root.join("d/c"), "").unwrap(), "/d/c is not in the image");
    check(3, &|root| fs::remove_file(root.join("d/b")).unwrap(), "/d/b is missing");
    check(4, &|root| fs::write(root.join("z"), "").unwrap(), "/z is not in the image");
    let chmod = |path: std::path::PathBuf| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    };
    check(5, &|root| chmod(root.join("d/b")), "/d/b differs");
    let relink = |root: &std::path::Path| {
        fs::remove_file(root.join("l")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("l")).unwrap();
    };
    check(6, &|root| relink(root), "/l differs");
    check(7, &|root| fs::remove_file(root.join("\u{e9}")).unwrap(), "/\\xc3\\xa9 is missing");
    check(8, &|root| fs::write(root.parent().unwrap().join("files"), "").unwrap(), "the list of files");
}
