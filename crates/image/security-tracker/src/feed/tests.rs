use std::io::Write;

use super::*;

const TEXT: &str = "VERSION 1\nCVE-2025-1,,one, with a comma\nTEMP-1-A,,\n\n\
    bash,0,SHRF,5.3-1,5.2-2 5.2-3\nopenssl,1,B ? ,,\nbash,1,SL  ,,\n\nbash,bash bash-doc\nempty,\n\n";

fn compress(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn fields_and_flags_are_read() {
    let feed = Feed::read(&compress(TEXT.as_bytes())).unwrap();
    let expect = Vulnerability {
        id: "CVE-2025-1".into(),
        description: "one, with a comma".into(),
        package: "bash".into(),
        kind: Kind::Source,
        urgency: Urgency::High,
        remote: Some(true),
        fix_available: true,
        unstable_version: Some("5.3-1".into()),
        other_versions: vec!["5.2-2".into(), "5.2-3".into()],
    };
    assert_eq!(feed.of("bash").unwrap()[0], expect);
    assert_eq!((feed.of("bash").unwrap()[1].urgency, feed.len()), (Urgency::Low, 3));
    let openssl = &feed.of("openssl").unwrap()[0];
    assert_eq!((openssl.kind, openssl.remote, openssl.fix_available), (Kind::Binary, None, false));
    assert_eq!((openssl.unstable_version.as_deref(), openssl.other_versions.len()), (None, 0));
    assert!(feed.of("empty").is_none());
}

#[test]
fn a_malformed_line_is_an_error_with_its_number() {
    let check = |from: &str, to: &str, expect: &str| {
        assert!(TEXT.contains(from));
        let error = Feed::parse(TEXT.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expect, "{from:?} -> {to:?}");
    };
    check("VERSION 1", "VERSION 2", &format!("line 1: {}", Problem::Header));
    check("TEMP-1-A,,", "TEMP-1-A", "line 3: expected 3 fields, separated by commas");
    check("TEMP-1-A", "TEMP \u{1b}[", "line 3: invalid name");
    check("bash,0,SHRF,5.3-1,", "bash,0,SHRF,5.3-1", "line 5: expected 5 fields, separated by commas");
    check("bash,0", "bash,2", "line 5: no vulnerability has this index");
    check("bash,0", "bash,-1", "line 5: no vulnerability has this index");
    check("SHRF", "SXRF", "line 5: invalid flags");
    check("SHRF", "SHXF", "line 5: invalid flags");
    check("SHRF", "SHR", "line 5: invalid flags");
    check("5.2-3", "5.2-\t3", "line 5: invalid version");
    check("openssl,1", ",1", "line 6: invalid name");
    check("empty,", "empty", "line 10: expected 2 fields, separated by commas");
}

#[test]
fn a_text_that_ends_before_its_last_section_is_truncated() {
    let last_section = TEXT.find("\n\nbash,bash").unwrap() + 2;
    for length in 0..last_section {
        let error = Feed::parse(&TEXT.as_bytes()[..length]).unwrap_err();
        assert!(matches!(error, FeedError::Line { .. }), "{length}: {error}");
    }
    Feed::parse(&TEXT.as_bytes()[..last_section]).unwrap();
}

#[test]
fn damaged_compressed_data_is_an_error() {
    let good = compress(TEXT.as_bytes());
    for length in 0..good.len() {
        let error = Feed::read(&good[..length]).unwrap_err().to_string();
        assert!(error.contains("damaged or truncated at byte"), "{length}: {error}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        // zlib's header has bits without effect on the data; everything else is covered by its checksum.
        if let Ok(feed) = Feed::read(&bad) {
            assert!(at < 2 && feed == Feed::read(&good).unwrap(), "{at}");
        }
    }
    let error = Feed::read(&[&good[..], b"more"].concat()).unwrap_err().to_string();
    assert_eq!(error, "4 unexpected bytes follow the compressed data");
    let error = Feed::parse(b"VERSION 1\n\n\xff").unwrap_err().to_string();
    assert_eq!(error, "line 3: not UTF-8");
}
