//! Invalid indexes are rejected.

use payload::{Index, IndexError, OldRange};

use crate::kit::{Random, both};

/// A delta of several segments.
fn sample() -> Index {
    let mut random = Random(20);
    let old = random.image(30_000);
    let new = crate::kit::modified(&mut random, &old);
    both(Some(&old), &new).1.unwrap().index
}

#[test]
fn an_index_round_trips() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let index = Index::parse(text.as_bytes()).unwrap();
    assert_eq!(index.to_bytes(), text.as_bytes());
    assert!(text.starts_with(r#"{"schema":2,"kind":"delta","segment_size":8192,"blob_size":"#));
    assert_eq!(index.output_size(), index.images[0].size);
    assert!(index.image("usr").is_some() && index.image("uki").is_none());
}

/// Each change makes the index invalid. Replaces the first match only.
fn check(changes: &[(&str, &str)], expect: &str) {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    for (from, to) in changes {
        let modified = text.replacen(from, to, 1);
        assert_ne!(modified, text, "{from} is not there");
        let error = Index::parse(modified.as_bytes()).unwrap_err();
        let kind = match error {
            IndexError::Syntax(_) => "syntax",
            IndexError::Schema(_) => "schema",
            IndexError::Form => "form",
            IndexError::Content(_) => "content",
            IndexError::TooLong(_) => "length",
        };
        assert_eq!(kind, expect, "{from} -> {to}: {error}");
    }
}

#[test]
fn other_keys_and_encodings_are_rejected() {
    let digest = sample().images[0].sha256.to_string();
    let blob_size = format!(r#""blob_size":{}"#, sample().blob_size);
    check(
        &[
            (r#"{"schema""#, r#"["schema""#),
            (r#""kind":"delta""#, r#""kind":"other""#),
            (r#""kind""#, r#""extra":1,"kind""#),
            (r#""kind":"delta""#, r#""kind":"delta","kind":"delta""#),
            (r#""role""#, r#""Role""#),
            (r#""role":"usr""#, r#""role":"usr","role":"usr""#),
            (r#""blob_offset":0"#, r#""blob_offset":-1"#),
            (r#""blob_offset":0"#, r#""blob_offset":0.5"#),
            (r#""blob_offset":0,"#, ""),
            (&blob_size, r#""blob_size":18446744073709551616"#),
            (&digest, &digest.to_uppercase()),
            (&digest, &digest[1..]),
        ],
        "syntax",
    );
    check(&[(r#""schema":2"#, r#""schema":1"#)], "schema");
    check(
        &[
            (r#""kind":"delta""#, r#" "kind":"delta""#),
            (r#""schema":2,"kind":"delta""#, r#""kind":"delta","schema":2"#),
            (r#""role":"usr""#, r#""role":"u\u0073r""#),
        ],
        "form",
    );
}

#[test]
fn invalid_sizes_are_rejected() {
    let index = sample();
    let (image, blob_size) = (&index.images[0], index.blob_size);
    let [size, old_size] =
        [image.size, image.old.as_ref().unwrap().size].map(|size| format!(r#""size":{size}"#));
    let blob = format!(r#""blob_size":{blob_size}"#);
    check(
        &[
            (r#""kind":"delta""#, r#""kind":"full""#),
            (r#""role":"usr""#, r#""role":"""#),
            (r#""role":"usr""#, r#""role":"../usr""#),
            (r#""role":"usr""#, &format!(r#""role":"{}""#, "u".repeat(33))),
            (r#""segment_size":8192"#, r#""segment_size":0"#),
            (r#""segment_size":8192"#, r#""segment_size":4096"#),
            (r#""segment_size":8192"#, r#""segment_size":8193"#),
            (r#""segment_size":8192"#, r#""segment_size":16384"#),
            (r#""segment_size":8192"#, r#""segment_size":4294963200"#),
            (&blob, &format!(r#""blob_size":{}"#, blob_size + 1)),
            (&blob, &format!(r#""blob_size":{}"#, u64::MAX)),
            (&size, &format!(r#""size":{}"#, image.size + 1)),
            (&size, &format!(r#""size":{}"#, image.size - 1)),
            (&size, r#""size":0"#),
            (&size, &format!(r#""size":{}"#, u64::MAX)),
            (&old_size, r#""size":100"#),
            (&old_size, &format!(r#""size":{}"#, u64::MAX)),
        ],
        "content",
    );
}

#[test]
fn overlapping_or_out_of_range_segments_are_rejected() {
    let index = sample();
    let second = &index.images[0].segments[1];
    let [begin, length] = [("offset", second.blob_offset), ("length", second.blob_length.into())]
        .map(|(name, value)| format!(r#""blob_{name}":{value}"#));
    check(
        &[
            (r#""offset":8192"#, r#""offset":8191"#),
            (r#""offset":8192"#, r#""offset":8193"#),
            (r#""offset":8192"#, &format!(r#""offset":{}"#, u64::MAX)),
            (r#""length":8192"#, r#""length":8191"#),
            (r#""length":8192"#, r#""length":0"#),
            (r#""length":8192"#, r#""length":4294967295"#),
            (&begin, &format!(r#""blob_offset":{}"#, second.blob_offset - 1)),
            (&begin, &format!(r#""blob_offset":{}"#, second.blob_offset + 1)),
            (&begin, &format!(r#""blob_offset":{}"#, u64::MAX)),
            (&length, r#""blob_length":0"#),
            (&length, r#""blob_length":4294967295"#),
        ],
        "content",
    );
}

#[test]
fn out_of_range_old_ranges_are_rejected() {
    let index = sample();
    let size = index.images[0].old.as_ref().unwrap().size;
    let range = index.images[0].segments[0].old.as_ref().unwrap();
    let text = |offset: u64, length: u64| {
        let OldRange { sha256, .. } = range;
        format!(r#"{{"offset":{offset},"length":{length},"sha256":"{sha256}"}}"#)
    };
    let good = text(range.offset, range.length.into());
    for (offset, length) in
        [(0, 0), (0, size + 1), (1, size), (size, 1), (u64::MAX, 1), (u64::MAX, u32::MAX.into())]
    {
        check(&[(&good, &text(offset, length))], "content");
    }
}

#[test]
fn duplicate_roles_are_rejected() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let (head, image) = text.split_once(r#""images":["#).unwrap();
    let image = image.strip_suffix("]}").unwrap();
    let digest = "0".repeat(64);
    let blob_size = sample().blob_size;
    let head = head.replace(&blob_size.to_string(), &(blob_size + 9).to_string());
    for (role, is_right) in [("usr", false), ("uki", true)] {
        let other = format!(
            r#"{{"role":"{role}","size":1,"sha256":"{digest}","segments":[{{"offset":0,"length":1,"sha256":"{digest}","blob_offset":{blob_size},"blob_length":9,"blob_sha256":"{digest}"}}]}}"#
        );
        let text = format!(r#"{head}"images":[{image},{other}]}}"#);
        assert_eq!(Index::parse(text.as_bytes()).is_ok(), is_right, "{text}");
    }
}

#[test]
fn limits_are_enforced() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let long = format!("{text}{}", " ".repeat(payload::limits::MAX_INDEX_BYTES));
    assert!(matches!(Index::parse(long.as_bytes()), Err(IndexError::TooLong(_))));
    let (head, image) = text.split_once(r#""images":["#).unwrap();
    let image = image.strip_suffix("]}").unwrap();
    for (images, is_right) in
        [(String::new(), false), ([image; 2].join(","), false), (image.to_owned(), true)]
    {
        let text = format!(r#"{head}"images":[{images}]}}"#);
        assert_eq!(Index::parse(text.as_bytes()).is_ok(), is_right);
    }
}
