//! Whatever a layer's entries are, none lands outside of its tree.

use std::fs;

use oci_store::Store;
use proptest::prelude::*;

use crate::images::{layer, listing, unpack_options};
use crate::unpacking::unpack;

const TARGETS: [&str; 9] = ["a", "b", "..", ".", "", "l", "..", "m", "OUTSIDE"];
/// Mostly names that an archive may have: an entry that is refused ends the attempt.
const NAMES: [&str; 16] =
    ["a", "b", "l", "m", "a", "b", "l", "m", "a", "l", "m", ".", ".wh.a", ".wh.l", ".wh..wh..opq", "OUTSIDE"];

fn random_path(
    parts: &'static [&'static str],
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(parts), count).prop_map(|parts| parts.join("/"))
}

fn random_entry() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(&["f", "d", "d", "l", "l", "h", "p"][..]);
    let parent = prop::bool::weighted(0.02);
    let (path, target) = (random_path(&NAMES, 1..4), random_path(&TARGETS, 1..6));
    (kind, prop::bool::ANY, parent, path, target).prop_map(|(kind, absolute, parent, path, target)| {
        let (slash, parent) = (if absolute { "/" } else { "" }, if parent { "../" } else { "" });
        format!("{kind} {parent}{path} {slash}{target}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// `OUTSIDE` in a path is a folder next to the store.
    #[test]
    fn no_entry_lands_outside_of_the_tree(
        layers in prop::collection::vec(prop::collection::vec(random_entry(), 1..8), 1..3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir_all(outside.join("a/b")).unwrap();
        fs::write(outside.join("l"), "canary").unwrap();
        let store = Store::open(&folder.path().join("x/y/store")).unwrap();
        let blobs: Vec<_> = layers
            .iter()
            .map(|lines| {
                let lines: Vec<_> = lines
                    .iter()
                    .map(|line| line.replace("OUTSIDE", &outside.to_string_lossy()))
                    .collect();
                layer(&lines.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let result = unpack(&store, &blobs, &unpack_options());
        prop_assert_eq!(listing(&outside), ["d a", "d a/b", "f l canary"]);
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        prop_assert_eq!(fs::read_dir(folder.path().join("x/y")).unwrap().count(), 1);
        let trees = fs::read_dir(folder.path().join("x/y/store/trees")).unwrap().count();
        prop_assert_eq!(trees, usize::from(result.is_ok()));
    }
}
