//! The index of an update's payload.

use payload::{Image, Index, Segment};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "payload_index",
    about: "an index is refused, or its parts hold together and it is written back byte for byte",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    match Index::parse(bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(index) => {
            assert_eq!(index.to_bytes(), bytes);
            let all: Vec<&Segment> = index.images.iter().flat_map(|image| &image.segments).collect();
            let mut blob_end = 0;
            for segment in all {
                assert_eq!(segment.blob_offset, blob_end);
                assert!(
                    segment.length > 0 && segment.length <= index.segment_size && segment.blob_length > 0
                );
                blob_end += u64::from(segment.blob_length);
            }
            assert_eq!(blob_end, index.blob_size);
            index.images.iter().for_each(check);
        }
    }
}

fn check(image: &Image) {
    let mut end = 0;
    for segment in &image.segments {
        assert_eq!(segment.offset, end);
        end += u64::from(segment.length);
        if let Some(range) = &segment.old {
            let old = image.old.as_ref().expect("an old image").size;
            assert!(range.offset.checked_add(range.length.into()).expect("no overflow") <= old);
        }
    }
    assert_eq!(end, image.size);
}

fn seeds() -> Vec<Vec<u8>> {
    let digest = "0".repeat(64);
    let segment = |offset: u32, length: u32, blob: u32| {
        format!(
            r#"{{"offset":{offset},"length":{length},"sha256":"{digest}","blob_offset":{blob},"blob_length":9,"blob_sha256":"{digest}"}}"#
        )
    };
    let full = format!(
        r#"{{"schema":2,"kind":"full","segment_size":4096,"blob_size":27,"images":[{{"role":"usr","size":5000,"sha256":"{digest}","segments":[{},{}]}},{{"role":"uki","size":1,"sha256":"{digest}","segments":[{}]}}]}}"#,
        segment(0, 4096, 0),
        segment(4096, 904, 9),
        segment(0, 1, 18)
    );
    let delta = format!(
        r#"{{"schema":2,"kind":"delta","segment_size":16777216,"blob_size":9,"images":[{{"role":"usr","size":7,"sha256":"{digest}","old":{{"size":10,"sha256":"{digest}"}},"segments":[{{"offset":0,"length":7,"sha256":"{digest}","blob_offset":0,"blob_length":9,"blob_sha256":"{digest}","old":{{"offset":2,"length":8,"sha256":"{digest}"}}}}]}}]}}"#
    );
    vec![full.into_bytes(), delta.into_bytes(), b"{}".to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_indexes() {
        assert_eq!(seeds().iter().filter(|seed| Index::parse(seed).is_ok()).count(), 2);
    }
}
