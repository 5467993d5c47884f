//! A release is signed only with the hash tree of its image.

use std::fs;
use std::path::{Path, PathBuf};

use payload::ReadBackError;
use payload::verity::{Hasher, Parameters};
use release::{Digest, Verity};
use release_folder::{
    BuildError, ImageFiles, ReleaseInfo, ReleaseSpec, SigningKey, build_release, create_unencrypted,
};
use tempfile::TempDir;

fn build(folder: &Path, verity: Verity) -> Result<(), BuildError> {
    build_version(folder, verity, "1.0.0", &[])
}

fn build_version(folder: &Path, verity: Verity, version: &str, older: &[PathBuf]) -> Result<(), BuildError> {
    let (usr, uki) = (folder.join("usr"), folder.join("uki"));
    let secret = SigningKey::read(&folder.join("keys/release.key")).unwrap();
    let info = ReleaseInfo {
        appid: "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}".to_owned(),
        board: "amd64-usr".to_owned(),
        channels: vec!["alpha".to_owned()],
        version: version.parse().unwrap(),
        epoch: 0,
        build_time: 1,
        expires: 4_000_000_000,
        min_from: None,
        notes_url: None,
    };
    let images = ImageFiles { usr: &usr, uki: &uki, verity };
    let spec = ReleaseSpec {
        images,
        info,
        signer: secret.signer(),
        older,
        image_files: &[],
        keys: &folder.join("keys"),
        level: 1,
    };
    build_release(&spec, &folder.join(version), &mut |_, _| ()).map(drop)
}

/// A folder with keys and images.
fn images() -> (TempDir, Verity) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    create_unencrypted(&at.join("keys"), "test", 4_000_000_000).unwrap();
    let usr: Vec<u8> = (0..40_960_u32).map(|number| number.to_le_bytes()[1]).collect();
    fs::write(at.join("usr"), &usr).unwrap();
    fs::write(at.join("uki"), b"a boot image").unwrap();
    let uuid = "00112233-4455-6677-8899-aabbccddeeff".to_owned();
    let good = Verity { root_hash: Digest([0; 32]), salt: Digest([3; 32]), uuid };
    let mut hasher = Hasher::new(&Parameters::of(&good).unwrap(), usr.len() as u64).unwrap();
    hasher.update(&usr);
    let good = Verity { root_hash: hasher.finish().unwrap().root, ..good };
    (folder, good)
}

#[test]
fn another_tree_is_rejected_before_any_write() {
    let (folder, good) = images();
    let at = folder.path();
    let wrong = |verity| match build(at, verity) {
        Err(BuildError::Tree { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let of_other = wrong(Verity { root_hash: Digest([7; 32]), ..good.clone() });
    assert!(matches!(of_other, ReadBackError::WrongRoot { .. }), "{of_other}");
    let salted = wrong(Verity { salt: Digest([4; 32]), ..good.clone() });
    assert!(matches!(salted, ReadBackError::WrongRoot { .. }), "{salted}");
    let unnamed = wrong(Verity { uuid: "0011".to_owned(), ..good.clone() });
    assert!(unnamed.to_string().contains("invalid UUID `0011`"), "{unnamed}");
    assert!(!at.join("1.0.0").exists());

    build(at, good).unwrap();
    assert!(at.join("1.0.0/release.json").exists());
}

/// Attack: someone changes an older release, which a delta would then start from.
#[test]
fn a_changed_release_is_not_used_for_a_delta() {
    let (folder, verity) = images();
    let at = folder.path();
    build(at, verity.clone()).unwrap();
    let older = [at.join("1.0.0")];
    let path = older[0].join("release.json");
    let good = fs::read(&path).unwrap();
    fs::write(&path, String::from_utf8(good.clone()).unwrap().replace("1.0.0", "0.9.0")).unwrap();
    let error = build_version(at, verity.clone(), "1.1.0", &older).unwrap_err();
    assert!(matches!(&error, BuildError::OldNotListed(folder) if *folder == older[0]), "{error}");
    assert!(!at.join("1.1.0/release.json").exists() && !at.join("1.1.0/targets.json").exists());
    fs::write(&path, good).unwrap();
    build_version(at, verity, "1.1.0", &older).unwrap();
}

/// Published versions are immutable: machines have them, and another release of the same version cannot replace them.
#[test]
fn a_version_is_released_once() {
    let (folder, verity) = images();
    let at = folder.path();
    build(at, verity.clone()).unwrap();
    assert_eq!(
        fs::read(at.join("keys/targets.json")).unwrap(),
        fs::read(at.join("1.0.0/targets.json")).unwrap()
    );
    assert!(at.join("1.0.0/1.root.json").exists());
    fs::rename(at.join("1.0.0"), at.join("moved")).unwrap();
    let error = build(at, verity).unwrap_err().to_string();
    assert!(error.starts_with("targets.json already lists version 1.0.0 for amd64-usr"), "{error}");
    assert!(!at.join("1.0.0").exists(), "nothing is packed");
}
