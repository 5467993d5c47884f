//! Two machines that publish with the same release key, and lists of a server that nobody must sign.

use std::fs;

use release::{Blob, Digest, Image, Images, Payload, SCHEMA, SEGMENTS, Verity};
use tempfile::TempDir;
use tuf::TargetFile;
use update_core::roots::Role;

use super::*;
use crate::keys::{KeysError, SigningKey};
use crate::roots::{add_root, copy_roots};
use crate::rotate::tests::{causes, new_folder, replace};
use crate::rotate::{Change, rotate};
use crate::targets::{load_targets, sign_targets};

const BOARD: &str = "amd64-usr";

pub(crate) fn release(version: &str) -> Release {
    let image = |byte| Image { size: 4096, sha256: Digest([byte; 32]) };
    let blob = |name: &str| Blob { url: name.parse().unwrap(), size: 1, sha256: Digest([3; 32]) };
    Release {
        schema: SCHEMA,
        appid: "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}".to_owned(),
        board: BOARD.to_owned(),
        channels: vec!["alpha".to_owned()],
        version: version.parse().unwrap(),
        epoch: 0,
        build_time: 1,
        expires: 4_000_000_000,
        min_from: None,
        images: Images {
            usr: image(1),
            verity: Verity {
                root_hash: Digest([4; 32]),
                salt: Digest([5; 32]),
                uuid: "00112233-4455-6677-8899-aabbccddeeff".to_owned(),
            },
            uki: image(2),
        },
        full: Payload { blob: blob("blob"), index: blob("index.json"), algo: SEGMENTS.to_owned() },
        deltas: vec![],
        notes_url: None,
    }
}

/// A keys folder with its release folders.
struct Publisher(TempDir);

impl Publisher {
    fn new() -> Self {
        Self(new_folder())
    }

    /// Another machine with the same keys, and an old list.
    fn copy(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in
            fs::read_dir(self.0.path()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file())
        {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        Self(copy)
    }

    fn keys(&self) -> &Path {
        self.0.path()
    }

    /// As `build_release`, without payloads.
    fn release(&self, release: &Release) -> PathBuf {
        let folder = self.keys().join(release.version.to_string());
        fs::create_dir(&folder).unwrap();
        let bytes = release.to_bytes().unwrap();
        let root = latest_complete(self.keys()).unwrap().unwrap();
        let before = load_targets(self.keys(), &root).unwrap();
        let mut targets = next_targets(&root, before.as_ref()).unwrap();
        add_release(&mut targets, release, &bytes).unwrap();
        let secret = SigningKey::read(&self.keys().join("release.key")).unwrap();
        let path = folder.join(TARGETS_FILE);
        let signed = sign_new(&path, &targets, &root, &[secret.signer()]).unwrap();
        copy_roots(self.keys(), &folder).unwrap();
        write(&path, &signed, &root).unwrap();
        write(&self.keys().join(TARGETS_FILE), &signed, &root).unwrap();
        fs::write(folder.join("release.json"), bytes).unwrap();
        folder
    }

    fn publish(
        &self,
        release: &Path,
        server: Option<&[u8]>,
        with_key: bool,
    ) -> Result<Vec<u8>, TargetsError> {
        self.publish_images(release, server, with_key, false)
    }

    fn publish_images(
        &self,
        release: &Path,
        server: Option<&[u8]>,
        with_key: bool,
        signs_images: bool,
    ) -> Result<Vec<u8>, TargetsError> {
        let key = self.keys().join("release.key");
        let mut unlock = || match with_key {
            true => Ok((key.clone(), SigningKey::read(&key)?.into_signer())),
            false => Err(KeysError::Encrypted(key.clone()).into()),
        };
        let publication =
            Publication { release: Some(release), signs_images, keys: Some(self.keys()), server };
        let (status, bytes) = targets_to_publish(publication, &mut unlock)?;
        status.ensure_complete()?;
        Ok(bytes)
    }

    fn listed(&self, bytes: &[u8]) -> Vec<String> {
        let root = latest_complete(self.keys()).unwrap().unwrap();
        let targets = root.targets(bytes, 0).unwrap().targets.into_keys();
        targets.filter_map(|path| Some(path.split('/').nth(2)?.to_owned())).collect()
    }
}

fn version(bytes: &[u8]) -> u64 {
    parse(Path::new("x"), bytes).unwrap().header.version.get()
}

#[test]
fn a_second_machine_with_an_old_list_keeps_the_releases_of_the_first() {
    let one = Publisher::new();
    let two = one.copy();
    let first = one.release(&release("1.0.0"));
    let server = one.publish(&first, None, false).unwrap();
    let second = one.release(&release("1.1.0"));
    let server = one.publish(&second, Some(&server), false).unwrap();
    // The same version number, another list.
    let third = two.release(&release("2.0.0"));
    let error = two.publish(&third, Some(&server), false).unwrap_err().to_string();
    assert!(error.contains("release.key is encrypted"), "a signature is necessary: {error}");
    let merged = two.publish(&third, Some(&server), true).unwrap();
    assert_eq!(two.listed(&merged), ["1.0.0", "1.1.0", "2.0.0"]);
    assert!(version(&merged) > version(&server));
    for folder in [two.keys(), &third] {
        assert_eq!(fs::read(folder.join(TARGETS_FILE)).unwrap(), merged);
    }
    // Again, and an older one of the first machine: the server's list has both.
    assert_eq!(two.publish(&third, Some(&merged), false).unwrap(), merged);
    assert_eq!(one.publish(&first, Some(&merged), false).unwrap(), merged);
}

#[test]
fn another_release_of_a_published_version_is_refused() {
    let one = Publisher::new();
    let two = one.copy();
    let server = one.publish(&one.release(&release("1.0.0")), None, false).unwrap();
    let other = two.release(&Release { epoch: 1, ..release("1.0.0") });
    let error = two.publish(&other, Some(&server), true).unwrap_err().to_string();
    assert!(error.contains("lists another release of version 1.0.0"), "{error}");
}

/// Attack: someone changes a release folder, or copies one there, before it is published.
#[test]
fn a_release_that_no_release_key_signed_is_not_published() {
    let one = Publisher::new();
    let folder = one.release(&release("1.0.0"));
    let path = folder.join("release.json");
    let good = fs::read(&path).unwrap();
    for (changed, expected) in [
        (Release { epoch: 1, ..release("1.0.0") }, "lists another release of version 1.0.0"),
        (release("1.0.1"), "does not list version 1.0.1"),
    ] {
        fs::write(&path, changed.to_bytes().unwrap()).unwrap();
        let error = one.publish(&folder, None, true).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    fs::write(&path, good).unwrap();
    one.publish(&folder, None, false).unwrap();
}

/// Attack: the thief of a revoked release key took the server, and publishes there.
#[test]
fn releases_of_a_revoked_key_on_the_server_are_not_signed() {
    let one = Publisher::new();
    let folder = one.release(&release("1.0.0"));
    let server = one.publish(&folder, None, false).unwrap();
    rotate(one.keys(), &replace(Role::Release, "release"), &mut None, 2000).unwrap();
    let root = Root::first(&fs::read(one.keys().join("1.root.json")).unwrap()).unwrap();
    let thief = SigningKey::read(&one.keys().join("release.revoked-in-2.key")).unwrap();
    let mut evil = parse(Path::new("x"), &server).unwrap();
    evil.header.version = NonZeroU64::new(50).unwrap();
    evil.targets.insert(release_target(BOARD, &"9.0.0".parse().unwrap()), TargetFile::of(b"evil"));
    let evil = sign_new(Path::new("x"), &evil, &root, &[thief.signer()]).unwrap();
    let published = one.publish(&folder, Some(&evil), true).unwrap();
    assert_eq!((one.listed(&published), version(&published)), (vec!["1.0.0".to_owned()], 51));
    let error = one.publish(&folder, Some(b"{}"), true).unwrap_err();
    assert!(causes(&error).contains("cannot parse targets.json of the server"), "{error}");
}

/// The list of a release folder is of a root before the last rotation.
#[test]
fn a_release_of_before_a_rotation_is_published_with_the_list_of_after_it() {
    let one = Publisher::new();
    let folder = one.release(&release("1.0.0"));
    rotate(one.keys(), &replace(Role::Channel, "channel"), &mut None, 2000).unwrap();
    let published = one.publish(&folder, None, false).unwrap();
    assert_eq!(published, fs::read(one.keys().join(TARGETS_FILE)).unwrap());
    // A publisher without keys.
    let publication = Publication { release: Some(&folder), signs_images: false, keys: None, server: None };
    let none = &mut || Err(KeysError::Encrypted("release.key".into()).into());
    let (_, bytes) = targets_to_publish(publication, none).unwrap();
    assert_eq!(bytes, fs::read(folder.join(TARGETS_FILE)).unwrap());
    // With the roots of the server, which has published this one already.
    add_root(&folder, &fs::read(one.keys().join("2.root.json")).unwrap()).unwrap();
    assert!(targets_to_publish(Publication { server: Some(&published), ..publication }, none).is_ok());
}

/// Writes the list of one image file, as `add_image_files` does.
fn write_images(folder: &Path, size: u64) -> Vec<u8> {
    let release = read(folder);
    let file = release::ImageFile {
        name: format!("keelson-{}-alpha.raw.zst", release.version).parse().unwrap(),
        channel: "alpha".to_owned(),
        format: "raw.zst".to_owned(),
        size,
        sha256: Digest([1; 32]),
        virtual_size: 1,
    };
    let (board, version) = (release.board, release.version);
    let root_hash = release.images.verity.root_hash;
    let list = ImageList { schema: SCHEMA, board, version, root_hash, files: vec![file] };
    let bytes = list.to_bytes().unwrap();
    fs::write(folder.join("images.json"), &bytes).unwrap();
    bytes
}

fn read(folder: &Path) -> Release {
    Release::parse(&fs::read(folder.join("release.json")).unwrap()).unwrap()
}

#[test]
fn images_are_added_to_a_published_release_and_kept_by_others() {
    let one = Publisher::new();
    let two = one.copy();
    let folder = one.release(&release("1.0.0"));
    let server = one.publish(&folder, None, false).unwrap();
    let bytes = write_images(&folder, 10);
    // Attack: someone puts images into the folder before it is published.
    let error = one.publish(&folder, Some(&server), true).unwrap_err().to_string();
    assert!(error.contains("lists no images of version 1.0.0 for amd64-usr"), "{error}");
    let with_images = one.publish_images(&folder, Some(&server), true, true).unwrap();
    let path = images_target(BOARD, &"1.0.0".parse().unwrap());
    let listed = |bytes: &[u8]| parse(Path::new("x"), bytes).unwrap().targets.get(&path).cloned();
    assert_eq!(listed(&with_images), Some(TargetFile::of(&bytes)));
    assert_eq!(one.publish(&folder, Some(&with_images), false).unwrap(), with_images, "no key is necessary");
    // Another machine, whose list lacks them.
    let second = two.release(&release("2.0.0"));
    let merged = two.publish(&second, Some(&with_images), true).unwrap();
    assert_eq!(listed(&merged), Some(TargetFile::of(&bytes)));
    // Other images of the same version.
    write_images(&folder, 11);
    for signs_images in [false, true] {
        let error = one.publish_images(&folder, Some(&merged), true, signs_images).unwrap_err().to_string();
        assert!(error.contains("lists other images of version 1.0.0"), "{error}");
    }
    // Of another release.
    fs::copy(folder.join("images.json"), second.join("images.json")).unwrap();
    let error = causes(&two.publish_images(&second, Some(&merged), true, true).unwrap_err());
    assert!(error.contains("of version 1.0.0, the release has version 2.0.0"), "{error}");
}

/// The second key signs the list in the release folder; publishing brings it to the folder of the keys.
#[test]
fn a_release_that_needs_two_keys_is_published_when_both_signed_it() {
    let (publisher, second) = (Publisher::new(), new_folder());
    let at = publisher.keys();
    let second_pub = at.join("second.pub");
    fs::copy(second.path().join("release/own.pub"), &second_pub).unwrap();
    let change = Change {
        add: vec![(Role::Release, second_pub)],
        release_threshold: NonZeroU64::new(2),
        ..Change::default()
    };
    assert!(rotate(at, &change, &mut None, 4_000_000_000).unwrap().is_complete());
    let second = second.path().join("release.key");
    sign_targets(&at.join(TARGETS_FILE), &second, &mut None).unwrap();
    let folder = publisher.release(&release("1.0.0"));
    let error = causes(&publisher.publish(&folder, None, true).unwrap_err());
    assert!(error.contains("1 of second (release keys of root version 2) must sign"), "{error}");
    sign_targets(&folder.join(TARGETS_FILE), &second, &mut None).unwrap();
    let published = publisher.publish(&folder, None, false).unwrap();
    assert_eq!(publisher.listed(&published), ["1.0.0"]);
    // The next release starts from the list that both signed.
    let next = publisher.release(&release("1.1.0"));
    sign_targets(&next.join(TARGETS_FILE), &second, &mut None).unwrap();
    let published = publisher.publish(&next, Some(&published), false).unwrap();
    assert_eq!(publisher.listed(&published), ["1.0.0", "1.1.0"]);
}
