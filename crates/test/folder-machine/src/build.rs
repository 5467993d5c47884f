//! Releases of images.

use std::fs;
use std::path::{Path, PathBuf};

use release::Digest;
use release_folder::{
    BuiltRelease, FinishedImage, FinishedImages, ImageFiles, ReleaseInfo, ReleaseSpec, SigningKey,
    build_release,
};

use crate::images::Images;

pub const APPID: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";
/// When releases were built, in Unix time.
pub const BUILT: u64 = 1_700_000_000;

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Builds a release, which the list in `keys` has afterwards.
pub fn release(images: &Images, keys: &Path, older: &[PathBuf], to: &Path) -> BuiltRelease {
    let files = tempfile::tempdir().unwrap();
    let [usr, uki] = ["usr", "uki"].map(|name| files.path().join(name));
    fs::write(&usr, &images.usr).unwrap();
    fs::write(&uki, &images.uki).unwrap();
    let info = ReleaseInfo {
        appid: APPID.into(),
        board: "amd64-usr".into(),
        channels: vec!["alpha".into()],
        version: images.version.clone(),
        epoch: 1,
        build_time: BUILT,
        expires: BUILT * 2,
        min_from: None,
        notes_url: None,
    };
    let secret = SigningKey::read(&keys.join("release.key")).unwrap();
    let images = ImageFiles { usr: &usr, uki: &uki, verity: images.verity.clone() };
    // Machines ignore it.
    let image = files.path().join(format!("keelson-{}-alpha.raw.zst", info.version));
    fs::write(&image, "an image").unwrap();
    let sha256 = Digest::of(b"an image").to_string();
    let image = FinishedImage { path: image, format: "raw.zst".into(), sha256, virtual_size: 4096 };
    let image_files = [FinishedImages {
        record: files.path().join("record"),
        version: info.version.to_string(),
        channel: "alpha".into(),
        root_hash: images.verity.root_hash.to_string(),
        files: vec![image],
    }];
    let spec = ReleaseSpec {
        images,
        info,
        signer: secret.signer(),
        older,
        image_files: &image_files,
        keys,
        level: 3,
    };
    build_release(&spec, to, &mut |_, _| ()).unwrap()
}
