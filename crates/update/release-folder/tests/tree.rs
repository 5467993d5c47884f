//! A release is signed only with the hash tree of its image.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use payload::ReadBackError;
use payload::verity::{Hasher, Parameters};
use release::{Digest, Keys, Verity};
use release_folder::{
    BuildError, ImageFiles, ReleaseInfo, ReleaseSpec, SigningKey, build_release, generate_keys,
};

fn build(folder: &Path, verity: Verity) -> Result<(), BuildError> {
    let (usr, uki) = (folder.join("usr"), folder.join("uki"));
    let secret = SigningKey::read(&folder.join("keys/release.key")).unwrap();
    let info = ReleaseInfo {
        appid: "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}".to_owned(),
        board: "amd64-usr".to_owned(),
        channels: vec!["alpha".to_owned()],
        version: "1.0.0".parse().unwrap(),
        epoch: 0,
        build_time: 1,
        expires: 4_000_000_000,
        min_from: None,
        notes_url: None,
    };
    let images = ImageFiles { usr: &usr, uki: &uki, verity };
    let spec = ReleaseSpec { images, info, secret: &secret, older: &[], keys: &Keys::default(), level: 1 };
    build_release(&spec, &folder.join("1.0.0"), &mut |_, _| ()).map(drop)
}

#[test]
fn another_tree_is_rejected_before_any_write() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    generate_keys(&at.join("keys"), "test", None).unwrap();
    let usr: Vec<u8> = (0..40_960_u32).map(|number| number.to_le_bytes()[1]).collect();
    fs::write(at.join("usr"), &usr).unwrap();
    fs::write(at.join("uki"), b"a boot image").unwrap();
    let uuid = "00112233-4455-6677-8899-aabbccddeeff".to_owned();
    let good = Verity { root_hash: Digest([0; 32]), salt: Digest([3; 32]), uuid };
    let mut hasher = Hasher::new(&Parameters::of(&good).unwrap(), usr.len() as u64).unwrap();
    hasher.update(&usr);
    let good = Verity { root_hash: hasher.finish().unwrap().root, ..good };

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
