//! The feed of Debian's security tracker, stored copies of it, and dpkg's status.

use std::io::Write;

use jiff::Timestamp;
use security_tracker::{Copy, Feed, Installed, compare, findings, read_status};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "security_tracker",
    about: "a feed and a status give findings that name their packages, or an error with its place",
    run,
    seeds,
};

/// Separates the status from the feed.
const PART: &str = "\n---\n";

fn run(bytes: &[u8]) {
    if Copy::is_copy(bytes) {
        match Copy::read(bytes) {
            Ok(copy) => {
                assert_eq!(Copy::read(&copy.write()).expect("it reads what it wrote"), copy);
                check_feed(Feed::read(&copy.feed).map_err(|error| error.to_string()));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    check_feed(Feed::read(bytes).map_err(|error| error.to_string()));
    let text = String::from_utf8_lossy(bytes);
    let (status, feed) = text.split_once(PART).unwrap_or((&text, &text));
    let feed = Feed::parse(feed.as_bytes()).map_err(|error| error.to_string());
    check_feed(feed.clone());
    let installed = match read_status(status) {
        Ok(installed) => installed,
        Err(error) => return assert!(error.to_string().contains("line ")),
    };
    if let Ok(feed) = feed {
        check_findings(&feed, &installed);
    }
}

fn check_feed(feed: Result<Feed, String>) {
    if let Err(error) = feed {
        assert!(!error.is_empty() && error.len() < 200, "{error}");
    }
}

fn check_findings(feed: &Feed, installed: &[Installed]) {
    let found = findings(feed, installed);
    for finding in &found {
        assert!(installed.iter().any(|package| package.package == finding.package));
        assert!(finding.fixed_in.is_none() || finding.fix_available);
        let fixed = [&finding.fixed_in, &finding.fixed_in_unstable].into_iter().flatten();
        let shown = fixed.chain([&finding.id, &finding.package, &finding.installed, &finding.description]);
        assert!(shown.flat_map(|text| text.chars()).all(|char| !char.is_control()), "{finding:?}");
        if let Some(fixed) = &finding.fixed_in {
            let below = [&finding.installed, &finding.source_version];
            assert!(below.into_iter().any(|version| compare(version, fixed).is_lt()), "{finding:?}");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let feed = "VERSION 1\nCVE-2025-1,,one, two\nTEMP-1-A,,\n\nbash,0,SHRF,5.3-1,5.2-2 5.2-3\nopenssl,1,B ? ,,\n\
        dmsetup,1,BL F,2:1.03-1,\n\nbash,bash bash-doc\nopenssl,\n\n";
    let status = "Package: bash\nStatus: install ok installed\nVersion: 5.2-1+b1\nSource: bash (5.2-1)\nDescription: x\n .\n\n\
        Package: dmsetup\nStatus: hold ok installed\nVersion: 2:1.02-1\nSource: lvm2 (2.03-1)\n\n\
        Package: openssl\nStatus: install ok installed\nVersion: 3.5~rc1-1\n\nPackage: old\nStatus: deinstall ok config-files\n";
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(feed.as_bytes()).expect("it writes to memory");
    let compressed = encoder.finish().expect("it writes to memory");
    let copy = Copy {
        release: "trixie".into(),
        date: Timestamp::UNIX_EPOCH,
        url: "https://a.example/trixie".into(),
        feed: compressed.clone(),
    };
    let both = format!("{status}{PART}{feed}");
    vec![feed.into(), status.into(), both.into(), compressed, copy.write()]
}
