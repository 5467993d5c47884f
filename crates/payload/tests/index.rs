//! Indexes that are none are refused before anything is done with them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use kit::{Chance, both};
use payload::{Index, IndexError};

fn sample() -> String {
    let mut chance = Chance(20);
    let old = chance.image(30_000);
    let new = kit::changed(&mut chance, &old);
    String::from_utf8(both(Some(&old), &new).1.unwrap().index.to_bytes()).unwrap()
}

#[test]
fn an_index_is_read_as_it_was_written() {
    let text = sample();
    let index = Index::parse(text.as_bytes()).unwrap();
    assert_eq!(index.to_bytes(), text.as_bytes());
    assert!(text.starts_with(r#"{"schema":1,"kind":"delta","segment_size":8192,"blob_size":"#));
    assert_eq!(index.output_size(), index.images[0].size);
    assert!(index.image("usr").is_some() && index.image("uki").is_none());
}

/// Each change alone makes it another thing than an index.
#[test]
fn what_is_no_index_is_refused() {
    let text = sample();
    let index = Index::parse(text.as_bytes()).unwrap();
    let image = &index.images[0];
    let (size, blob_size) = (image.size, index.blob_size);
    let second = &image.segments[1];
    let range = image.segments[0].old.clone().unwrap();
    let digest = image.segments[0].sha256.to_string();
    let old_size = image.old.clone().unwrap().size;
    let old =
        format!(r#"{{"offset":{},"length":{},"sha256":"{}"}}"#, range.offset, range.length, range.sha256);
    let changes: Vec<(&str, String, String)> = vec![
        ("syntax", r#"{"schema""#.into(), r#"["schema""#.into()),
        ("syntax", r#""kind":"delta""#.into(), r#""kind":"other""#.into()),
        ("syntax", r#""kind""#.into(), r#""extra":1,"kind""#.into()),
        ("syntax", r#""kind":"delta""#.into(), r#""kind":"delta","kind":"delta""#.into()),
        ("syntax", r#""role""#.into(), r#""Role""#.into()),
        ("syntax", r#""role":"usr""#.into(), r#""role":"usr","role":"usr""#.into()),
        ("syntax", r#""blob_offset":0"#.into(), r#""blob_offset":-1"#.into()),
        ("syntax", r#""blob_offset":0"#.into(), r#""blob_offset":0.5"#.into()),
        ("syntax", r#""blob_offset":0,"#.into(), String::new()),
        ("syntax", format!(r#""blob_size":{blob_size}"#), r#""blob_size":18446744073709551616"#.into()),
        ("syntax", digest.clone(), digest.to_uppercase()),
        ("syntax", digest.clone(), digest[1..].to_owned()),
        ("schema", r#""schema":1"#.into(), r#""schema":2"#.into()),
        ("form", r#""kind":"delta""#.into(), r#" "kind":"delta""#.into()),
        ("form", r#""schema":1,"kind":"delta""#.into(), r#""kind":"delta","schema":1"#.into()),
        ("form", r#""role":"usr""#.into(), r#""role":"u\u0073r""#.into()),
        ("content", r#""kind":"delta""#.into(), r#""kind":"full""#.into()),
        ("content", r#""role":"usr""#.into(), r#""role":"""#.into()),
        ("content", r#""role":"usr""#.into(), r#""role":"../usr""#.into()),
        ("content", r#""role":"usr""#.into(), format!(r#""role":"{}""#, "u".repeat(33))),
        ("content", r#""segment_size":8192"#.into(), r#""segment_size":0"#.into()),
        ("content", r#""segment_size":8192"#.into(), r#""segment_size":4096"#.into()),
        ("content", r#""segment_size":8192"#.into(), r#""segment_size":8193"#.into()),
        ("content", r#""segment_size":8192"#.into(), r#""segment_size":16384"#.into()),
        ("content", r#""segment_size":8192"#.into(), r#""segment_size":4294963200"#.into()),
        ("content", format!(r#""blob_size":{blob_size}"#), format!(r#""blob_size":{}"#, blob_size + 1)),
        ("content", format!(r#""blob_size":{blob_size}"#), format!(r#""blob_size":{}"#, u64::MAX)),
        ("content", format!(r#""size":{size}"#), format!(r#""size":{}"#, size + 1)),
        ("content", format!(r#""size":{size}"#), format!(r#""size":{}"#, size - 1)),
        ("content", format!(r#""size":{size}"#), r#""size":0"#.into()),
        ("content", format!(r#""size":{size}"#), format!(r#""size":{}"#, u64::MAX)),
        ("content", format!(r#""size":{old_size}"#), format!(r#""size":{}"#, range.length - 1)),
        ("content", format!(r#""size":{old_size}"#), format!(r#""size":{}"#, u64::MAX)),
        ("content", r#""offset":8192"#.into(), r#""offset":8191"#.into()),
        ("content", r#""offset":8192"#.into(), r#""offset":8193"#.into()),
        ("content", r#""offset":8192"#.into(), format!(r#""offset":{}"#, u64::MAX)),
        ("content", r#""length":8192"#.into(), r#""length":8191"#.into()),
        ("content", r#""length":8192"#.into(), r#""length":0"#.into()),
        ("content", r#""length":8192"#.into(), r#""length":4294967295"#.into()),
        (
            "content",
            format!(r#""blob_offset":{}"#, second.blob_offset),
            format!(r#""blob_offset":{}"#, second.blob_offset - 1),
        ),
        (
            "content",
            format!(r#""blob_offset":{}"#, second.blob_offset),
            format!(r#""blob_offset":{}"#, u64::MAX),
        ),
        ("content", format!(r#""blob_length":{}"#, second.blob_length), r#""blob_length":0"#.into()),
        ("content", format!(r#""blob_length":{}"#, second.blob_length), r#""blob_length":4294967295"#.into()),
        ("content", old.clone(), old.replace(&format!(r#""length":{}"#, range.length), r#""length":0"#)),
        (
            "content",
            old.clone(),
            old.replace(&format!(r#""length":{}"#, range.length), &format!(r#""length":{}"#, old_size + 1)),
        ),
        (
            "content",
            old.clone(),
            old.replace(r#""offset":0"#, r#""offset":1"#)
                .replace(&range.length.to_string(), &old_size.to_string()),
        ),
        ("content", old.clone(), old.replace(r#""offset":0"#, &format!(r#""offset":{}"#, u64::MAX))),
    ];
    for (expect, from, to) in &changes {
        let changed = text.replacen(from.as_str(), to, 1);
        assert_ne!(changed, text, "{from} is not there");
        let error = Index::parse(changed.as_bytes()).unwrap_err();
        let kind = match error {
            IndexError::Syntax(_) => "syntax",
            IndexError::Schema(_) => "schema",
            IndexError::Form => "form",
            IndexError::Content(_) => "content",
            IndexError::TooLong(_) => "length",
        };
        assert_eq!(kind, *expect, "{from} -> {to}: {error}");
    }
}

#[test]
fn what_grows_is_bounded() {
    let text = sample();
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
