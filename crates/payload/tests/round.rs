//! What is packed is applied: to files, whole, with little and odd images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::Path;

use payload::{Applied, Apply, ApplyError, GrowingFile, Input, Old, Options, Packed, Part, pack, pack_delta};

const OPTIONS: Options = Options { segment_size: 8192, threads: None };

fn from(blob: &Path) -> impl FnMut(Range<u64>) -> io::Result<Box<dyn Read>> {
    let bytes = fs::read(blob).unwrap();
    move |range| {
        Ok(Box::new(Cursor::new(bytes[range.start as usize..range.end as usize].to_vec())) as Box<dyn Read>)
    }
}

fn apply_to(packed: &Packed, target: &Path, old: Option<&Path>) -> Result<Applied, ApplyError> {
    let old = old.map(|old| File::open(old).unwrap());
    let target = GrowingFile::open(target).unwrap();
    let part = Part { role: "usr", target: &target, old: old.as_ref().map(|old| old as _) };
    payload::apply(Apply {
        index: &packed.index,
        blob: &mut from(&packed.blob_path),
        full: None,
        parts: &[part],
        look: false,
        progress: &mut |_| {},
        cancelled: &|| false,
    })
}

#[test]
fn full_and_delta_give_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut bytes: Vec<u8> =
        (0..100_000_u32).flat_map(|n| (n / 7).wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(at("old"), &bytes).unwrap();
    bytes.splice(50_000..50_000, *b"something new in the middle");
    fs::write(at("new"), &bytes).unwrap();
    let (old, new) = ([Input { role: "usr", path: &at("old") }], [Input { role: "usr", path: &at("new") }]);
    let full = pack(&new, OPTIONS, &at("out"), &mut |_| {}).unwrap();
    let delta =
        pack_delta(Old { images: &old, full: Some(&full) }, &new, OPTIONS, &at("out"), &mut |_| {}).unwrap();
    assert!(delta.blob_size * 4 < full.blob_size, "{} {}", delta.blob_size, full.blob_size);
    apply_to(&full, &at("a"), None).unwrap();
    apply_to(&delta, &at("b"), Some(&at("old"))).unwrap();
    assert!(fs::read(at("a")).unwrap() == bytes && fs::read(at("b")).unwrap() == bytes);
}
