//! Real files as targets, and reading them back.

use std::fs;
use std::io::{self, Cursor, Read};

use payload::verity::{Hasher, Parameters};
use payload::{
    Apply, Digest, DirectReader, Expected, GrowingFile, ImageTarget, Partition, ReadAt, ReadBackError,
    Target, read_back, read_back_tree,
};

use crate::kit::Random;

fn apply_to(target: &dyn Target, made: &crate::kit::MemoryPayload) {
    payload::apply(Apply {
        index: &made.index,
        blob: &mut crate::kit::Blob::of(made),
        full: None,
        parts: &[ImageTarget { role: "usr", target, old: None }],
        unpacker: &mut payload::LocalUnpacker::default(),
        resume: false,
        progress: &mut |_| {},
        cancelled: &|| false,
    })
    .unwrap();
}

#[test]
fn a_file_is_truncated_to_the_image_and_a_partition_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let new = Random(40).image(30_001);
    let made = crate::kit::full(&new);
    for length in [0, 10, 30_001, 50_000] {
        let path = crate::kit::file(folder.path(), "file", &vec![3; length]);
        apply_to(&GrowingFile::open(&path).unwrap(), &made);
        assert!(fs::read(&path).unwrap() == new, "{length}");
    }
    let path = crate::kit::file(folder.path(), "partition", &vec![3; 50_000]);
    let partition = Partition::open(&path).unwrap();
    assert_eq!((partition.capacity().unwrap(), partition.size().unwrap()), (50_000, 50_000));
    apply_to(&partition, &made);
    assert!(fs::read(&path).unwrap() == [&new[..], &[3; 19_999]].concat());
    assert!(Partition::open(&folder.path().join("absent")).is_err());
    let fresh = folder.path().join("fresh");
    apply_to(&GrowingFile::open(&fresh).unwrap(), &made);
    assert!(fs::read(&fresh).unwrap() == new);
}

#[test]
fn direct_reads_return_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let all = Random(41).bytes((4 << 20) + 5000);
    // Covers tmpfs, too, which has no direct I/O.
    for folder in [folder.path(), "/dev/shm".as_ref()] {
        for size in [0, 1, 4096, 5000, 4 << 20, (4 << 20) + 513] {
            let bytes = &all[..size];
            let file = tempfile::NamedTempFile::new_in(folder).unwrap();
            fs::write(file.path(), bytes).unwrap();
            let mut read = Vec::new();
            DirectReader::open(file.path()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{size}");
        }
    }
}

/// Fails at its end instead of reporting EOF.
struct Broken(Cursor<Vec<u8>>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("unreadable sector")),
            count => Ok(count),
        }
    }
}

#[test]
fn reading_back_detects_every_difference() {
    let image = Random(42).image(700 * 4096);
    let parameters = Parameters { salt: vec![1, 2, 3], uuid: [5; 16] };
    let mut hasher = Hasher::new(&parameters, 0).unwrap();
    hasher.update(&image);
    let tree = hasher.finish().unwrap();
    let mut behind = image.clone();
    behind.extend([1; 5000]);
    let good = Expected { role: "usr", size: image.len() as u64, digest: Digest::of(&image) };
    let rooted = Expected { digest: tree.root, ..good };
    let read = |expected: Expected<'_>, bytes: &[u8]| read_back(&expected, bytes, &mut |_| true);
    let read_tree =
        |expected: Expected<'_>, bytes: &[u8]| read_back_tree(&expected, &parameters, bytes, &mut |_| true);
    for bytes in [&image, &behind] {
        let mut content = Vec::new();
        let mut watch = |done| {
            content.push(done);
            true
        };
        let got = read_back_tree(&rooted, &parameters, &bytes[..], &mut watch).unwrap();
        assert!(got.parts().eq(tree.parts()) && got.root == tree.root);
        assert!(
            content.is_sorted() && content.last() == Some(&good.size) && content.len() == 3,
            "{content:?}"
        );
        read(good, bytes).unwrap();
    }
    for at in (0..image.len()).step_by(200_001).chain([image.len() - 1]) {
        let mut other = image.clone();
        other[at] ^= 1;
        assert!(matches!(read(good, &other), Err(ReadBackError::WrongHash { .. })), "{at}");
        assert!(matches!(read_tree(rooted, &other), Err(ReadBackError::WrongRoot { .. })), "{at}");
    }
    let short = read(good, &image[..5000]).unwrap_err();
    assert!(matches!(short, ReadBackError::Read { offset: 0, .. }), "{short}");
    let broken = Broken(Cursor::new(image[..2_000_000].to_vec()));
    let error = read_back(&good, broken, &mut |_| true).unwrap_err();
    assert!(matches!(error, ReadBackError::Read { offset: 1_048_576, .. }), "{error}");
    let cancelled = read_back(&good, &image[..], &mut |done| done < 2_000_000).unwrap_err();
    assert!(matches!(cancelled, ReadBackError::Cancelled), "{cancelled}");
    // A tree needs complete blocks, a digest does not.
    let odd = Expected { size: 5000, digest: Digest::of(&image[..5000]), ..good };
    assert!(matches!(read_tree(odd, &image), Err(ReadBackError::Verity(_))));
    read(odd, &image).unwrap();
}
