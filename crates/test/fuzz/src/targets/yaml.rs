//! The YAML of cloud-config: whole documents, and the part before an error.

use std::sync::Arc;

use cloudinit::limits::{MAX_EXPANSION, MAX_FINDINGS, MAX_YAML_DEPTH, MAX_YAML_NODES, MIN_EXPANDED_NODES};
use cloudinit::yaml::{Entry, Location, Node, Value, read, read_until_error};
use cloudinit::{check, config};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "yaml",
    about: "a text becomes a tree with places in it and within its limits, or an error with its place",
    run,
    seeds,
};

/// Trees up to this size are compared completely.
const COMPARED: u64 = 2000;

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let breaks = text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
    let lines = u32::try_from(1 + breaks).unwrap();
    // The parser terminates an unterminated last line: an empty node there is located after it.
    let end = Location { line: lines + 1, column: 1 };
    let within = |place: Location| ((1..=lines).contains(&place.line) && place.column >= 1) || place == end;
    let until_error = read_until_error(bytes);
    let part = until_error.as_deref().map(|root| nodes(root, 1, &within));
    match read(bytes) {
        Ok(document) => {
            assert!(document.notes.len() <= MAX_FINDINGS);
            assert!(document.notes.iter().all(|note| within(note.location) && !note.message.is_empty()));
            let whole = document.root.as_deref().map(|root| nodes(root, 1, &within));
            assert_eq!(whole, part, "without an error all of it stands before the error");
            if whole.is_some_and(|nodes| nodes <= COMPARED) {
                assert_eq!(document.root.as_deref().map(dump), until_error.as_deref().map(dump));
            }
            let config = config::read(document.root.as_deref());
            match check::check(&config) {
                Ok(_) => {}
                Err(refusals) => {
                    assert!(!refusals.is_empty() && refusals.iter().all(|refusal| within(refusal.location)));
                }
            }
        }
        Err(error) => {
            assert!(within(error.location) && !error.message.is_empty(), "{error:?}, {lines} lines");
            assert!(!error.message.contains('\n'), "{error:?}");
        }
    }
    drop(check::keys(&config::keys_before_error(bytes)));
}

/// Number of nodes with aliases expanded.
fn nodes(node: &Node, depth: usize, within: &dyn Fn(Location) -> bool) -> u64 {
    assert!(depth <= MAX_YAML_DEPTH + 1, "deeper than it may be");
    assert!(within(node.location), "{:?}", node.location);
    let below = |child: &Arc<Node>| nodes(child, depth + 1, within);
    let count = 1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(|item| below(&item.node)).sum(),
        Value::Mapping(mapping) => mapping
            .entries()
            .iter()
            .map(|entry| {
                assert_eq!(*entry.key, entry.raw_key.replace('-', "_"));
                assert!(within(entry.location) && mapping.get(&entry.key).is_some());
                below(&entry.node)
            })
            .sum(),
    };
    assert!(count <= MIN_EXPANDED_NODES.max(MAX_EXPANSION * MAX_YAML_NODES), "a bomb that went off");
    count
}

/// A deterministic dump.
fn dump(node: &Node) -> String {
    let value = match &node.value {
        Value::Scalar(scalar) => format!("{scalar:?}"),
        Value::List(items) => {
            items.iter().map(|item| format!("{:?} {},", item.location, dump(&item.node))).collect()
        }
        Value::Mapping(mapping) => {
            let entry =
                |entry: &Entry| format!("{:?} {}: {},", entry.location, entry.raw_key, dump(&entry.node));
            mapping.entries().iter().map(entry).collect()
        }
    };
    format!("{:?} ({value})", node.location)
}

fn seeds() -> Vec<Vec<u8>> {
    let full = include_str!("../../../../cloudinit/cloudinit/tests/data/full.yml");
    let texts: [&str; 10] = [
        full,
        "a: &a [1, 0644, 0b1, 0x1f, 1.5, ~, yes, \"no\", 2001-01-01, 12:00]\nb: [*a, *a]\nc: {<<: {d: e}, d: f}\n",
        "a:\n  - |\n    text\n  - >-\n    folded\n    text\n  - !!binary aGVsbG8=\n  - 'quo''ted'\n  - \"\\u00e9\\n\"\n",
        "hostname: a\nssh-authorized-keys:\n- ssh-rsa A\nssh_authorized_keys: [b]\nx: [\n",
        "a:\r\n  b: c\r\n--- # second\n...\n",
        "? key\n: value\n? [complex, key]\n: x\n",
        "%YAML 1.1\n%TAG ! tag:x,2000:\n---\n!a b: !!str 1\n",
        "a:\n\t- tab\n",
        "- &x [*x]\n",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
         d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
