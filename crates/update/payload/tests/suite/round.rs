//! Packing and applying round-trips, deterministically.

use std::fs;
use std::num::NonZero;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use payload::{DeltaBase, Index, Input, Options, PackError, Packed, pack, pack_delta};
use proptest::prelude::*;

use crate::kit::{Blob, Disk, OldImage, Random, attempt};

fn packed(folder: &Path, old: Option<&[u8]>, new: &[u8], options: Options) -> Packed {
    let path = crate::kit::file(folder, "new", new);
    let images = [Input { role: "usr", path: &path }];
    let full = pack(&images, options, folder, &mut |_| {}).unwrap();
    let Some(old) = old else { return full };
    let path = crate::kit::file(folder, "old", old);
    let old = DeltaBase { images: &[Input { role: "usr", path: &path }], full: Some(&full) };
    pack_delta(old, &images, options, folder, &mut |_| {}).unwrap()
}

/// Applies twice: the second time fetches nothing.
fn assert_applies(packed: &Packed, old: Option<&[u8]>, new: &[u8]) {
    let bytes = fs::read(&packed.blob_path).unwrap();
    let index = Index::parse(&fs::read(&packed.index_path).unwrap()).unwrap();
    assert_eq!(index, packed.index);
    let disk = Disk::with_content(vec![0xcc; new.len() + 1]);
    let old = old.map(OldImage::of);
    let target = (&disk as _, old.as_ref().map(|old| old as _));
    for resume in [false, true] {
        let mut blob = Blob { bytes: &bytes, requested: Vec::new() };
        let (outcome, last) = attempt(&index, &mut blob, None, target, resume);
        let applied = outcome.unwrap();
        assert!(disk.content() == [new, &[0xcc]].concat());
        assert_eq!((last.done, last.total), (new.len() as u64, new.len() as u64));
        assert_eq!(applied.fetched, if resume { 0 } else { index.blob_size });
    }
}

/// An image, and another one derived from it: modified, moved, longer, shorter or unrelated.
fn images() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (any::<u64>(), 1..60_000_usize, 0..5_u8).prop_map(|(seed, size, kind)| {
        let mut random = Random(seed | 1);
        let old = random.image(size);
        let mut new = crate::kit::modified(&mut random, &old);
        match kind {
            0 => new.splice(0..0, random.image(5000)).for_each(drop),
            1 => new.truncate(size / 2 + 1),
            2 => new.extend(random.image(30_000)),
            3 => new = random.image(size),
            _ => {}
        }
        if new.is_empty() {
            new.push(1);
        }
        (old, new)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packing_and_applying_round_trips(
        (old, new) in images(),
        segment_size in prop::sample::select(vec![4096_u32, 8192, 65_536]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { segment_size, threads: None, ..Options::default() };
        let full = packed(folder.path(), None, &new, options);
        assert_applies(&full, None, &new);
        let delta = packed(folder.path(), Some(&old), &new, options);
        assert_applies(&delta, Some(&old), &new);
        let frames = delta.index.images[0].segments.iter().zip(&full.index.images[0].segments);
        for (over, alone) in frames {
            prop_assert!(over.blob_length <= alone.blob_length.max(segment_size / 64));
            prop_assert_eq!(over.sha256, alone.sha256);
        }
    }

    #[test]
    fn packing_is_deterministic((old, new) in images()) {
        let digests = [1, 3].map(|threads| {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { segment_size: 4096, threads: NonZero::new(threads), ..Options::default() };
            let delta = packed(folder.path(), Some(&old), &new, options);
            (delta.index_sha256, delta.blob_sha256, fs::read(folder.path().join("full.blob")).unwrap())
        });
        prop_assert!(digests[0] == digests[1]);
    }
}

#[test]
fn a_correct_payload_is_reused() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(31);
    let old = random.image(50_000);
    let mut new = crate::kit::modified(&mut random, &old);
    let make = |new: &[u8]| packed(folder.path(), Some(&old), new, crate::kit::OPTIONS);
    let file = |name: &str| folder.path().join(name).metadata().unwrap().ino();
    let first = make(&new);
    let inodes = [file("full.blob"), file("delta.blob")];
    assert_eq!(make(&new).index, first.index);
    assert_eq!([file("full.blob"), file("delta.blob")], inodes);
    let whole = fs::read(&first.blob_path).unwrap();
    // Changed bits in a frame's header and content, and a truncated end.
    let modified = (0..whole.len()).step_by(whole.len() / 20).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    });
    for damaged in modified.chain([whole[..whole.len() - 1].to_vec()]) {
        fs::write(&first.blob_path, damaged).unwrap();
        assert_eq!(make(&new).blob_sha256, first.blob_sha256);
        assert!(fs::read(&first.blob_path).unwrap() == whole);
    }
    new[100] ^= 1;
    let other = make(&new);
    assert_ne!(other.index.images[0].sha256, first.index.images[0].sha256);
    assert_applies(&other, Some(&old), &new);
}

#[test]
fn a_segment_unlike_the_old_image_is_packed_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(33);
    let old = random.bytes(40_000);
    let new = [&old[..20_000], &random.bytes(20_000)[..]].concat();
    let delta = packed(folder.path(), Some(&old), &new, crate::kit::OPTIONS);
    let over: Vec<_> = delta.index.images[0].segments.iter().map(|segment| segment.old.is_some()).collect();
    // 20,000 bytes end in the third segment.
    assert_eq!(over, [true, true, true, false, false]);
    assert_applies(&delta, Some(&old), &new);
}

/// A killed run leaves a partial blob, or a blob without its index.
#[test]
fn remains_of_a_killed_run_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let new = Random(32).image(50_000);
    let whole = packed(folder.path(), None, &new, crate::kit::OPTIONS);
    let blob = fs::read(&whole.blob_path).unwrap();
    fs::remove_file(&whole.index_path).unwrap();
    fs::write(&whole.blob_path, &blob[..100]).unwrap();
    fs::write(folder.path().join("full.blob.partial"), vec![1; 200_000]).unwrap();
    fs::write(folder.path().join("full.index.json.partial"), "{").unwrap();
    assert_eq!(packed(folder.path(), None, &new, crate::kit::OPTIONS).index, whole.index);
    assert!(fs::read(&whole.blob_path).unwrap() == blob);
    let mut names: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["full.blob", "full.index.json", "new"]);
}

#[test]
fn images_beyond_the_limits_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let (image, empty) =
        (crate::kit::file(folder.path(), "a", &[1; 9000]), crate::kit::file(folder.path(), "b", &[]));
    let usr = Input { role: "usr", path: &image };
    let with = |segment_size| Options { segment_size, threads: None, ..Options::default() };
    for (images, options) in [
        (vec![], with(8192)),
        (vec![usr, usr], with(8192)),
        (vec![Input { role: "Usr", ..usr }], with(8192)),
        (vec![Input { path: &empty, ..usr }], with(8192)),
        (vec![usr], with(0)),
        (vec![usr], with(5000)),
        (vec![usr], with(32 << 20)),
    ] {
        let outcome = pack(&images, options, &folder.path().join("out"), &mut |_| {});
        assert!(matches!(outcome, Err(PackError::Limits(_))), "{images:?}: {outcome:?}");
    }
    let absent = Input { role: "usr", path: &folder.path().join("absent") };
    let outcome = pack(&[absent], with(8192), folder.path(), &mut |_| {});
    assert!(matches!(outcome, Err(PackError::Read { .. })), "{outcome:?}");
    let outcome = pack(&[usr], with(8192), &image, &mut |_| {});
    assert!(matches!(outcome, Err(PackError::Write { .. })), "{outcome:?}");
}
