//! Keys and types: the tree against the table of keys.

use crate::finding::{Finding, Severity};
use crate::limits::MAX_FINDINGS;
use crate::schema::{COREOS, DOCUMENT, Key, Want};
use crate::suggestion::nearest;
use crate::yaml::{Entry, Item, Mapping, Node, Place, ScalarType, Value};

pub(super) fn document(root: &Node, findings: &mut Vec<Finding>) {
    let Some(mapping) = root.mapping() else { return };
    check_mapping(mapping, DOCUMENT, findings);
    misplaced(mapping, findings);
}

/// Known keys one level too high or too low.
fn misplaced(document: &Mapping, findings: &mut Vec<Finding>) {
    for entry in document.entries() {
        let below = COREOS.iter().any(|key| key.name == &*entry.key);
        if below && !DOCUMENT.iter().any(|key| key.name == &*entry.key) {
            let message = format!("{} belongs under coreos", entry.key);
            findings.push(Finding::new(Severity::Info, entry.place, message));
        }
    }
    let coreos = document.get("coreos").and_then(|entry| entry.node.mapping());
    if let Some(entry) = coreos.and_then(|coreos| coreos.get("write_files")) {
        let message = "write_files doesn't belong under coreos";
        findings.push(Finding::new(Severity::Info, entry.place, message));
    }
}

fn check_mapping(mapping: &Mapping, keys: &[Key], findings: &mut Vec<Finding>) {
    for entry in mapping.entries() {
        if findings.len() > MAX_FINDINGS {
            return;
        }
        match keys.iter().find(|key| key.name == &*entry.key) {
            Some(key) => check_entry(entry, key, findings),
            None => findings.push(unrecognized(entry, keys)),
        }
    }
}

fn unrecognized(entry: &Entry, keys: &[Key]) -> Finding {
    let mut message = format!("unrecognized key {:?}", entry.key);
    if let Some(known) = nearest(&entry.key, keys.iter().map(|key| key.name)) {
        message.push_str(&format!(" (did you mean {known:?}?)"));
    }
    Finding::new(Severity::Warning, entry.place, message)
}

fn check_entry(entry: &Entry, key: &Key, findings: &mut Vec<Finding>) {
    if let Some(reason) = key.deprecated {
        let message = format!("deprecated key {:?} ({reason})", key.name);
        findings.push(Finding::new(Severity::Warning, entry.place, message));
    }
    check_type(&entry.node, key.name, key.want, entry.place, findings);
    if let (Some(allowed), Some(scalar)) = (key.allowed, entry.node.scalar())
        && scalar.resolve() != ScalarType::Null
        && !scalar.text.is_empty()
        && !allowed(&scalar.text)
    {
        let message = format!("invalid value {}", scalar.text);
        findings.push(Finding::new(Severity::Error, entry.place, message));
    }
}

fn check_type(node: &Node, name: &str, want: Want, place: Place, findings: &mut Vec<Finding>) {
    let fits = match (want, &node.value) {
        (Want::Mapping(keys), Value::Mapping(mapping)) => {
            check_mapping(mapping, keys, findings);
            true
        }
        (Want::List(keys), Value::List(items)) => {
            each(
                items,
                name,
                |item, name, findings| {
                    check_type(&item.node, name, Want::Mapping(keys), item.place, findings);
                },
                findings,
            );
            true
        }
        (Want::Texts | Want::TextsOrCommas | Want::Sudo, Value::List(items)) => {
            each(
                items,
                name,
                |item, name, findings| {
                    check_type(&item.node, name, Want::Text, item.place, findings);
                },
                findings,
            );
            true
        }
        (want, Value::Scalar(scalar)) => scalar_fits(want, scalar.resolve()),
        _ => false,
    };
    if !fits {
        let message = format!("incorrect type for {name:?} (want {})", want.name());
        findings.push(Finding::new(Severity::Warning, place, message));
    }
}

fn each(
    items: &[Item],
    name: &str,
    check: impl Fn(&Item, &str, &mut Vec<Finding>),
    findings: &mut Vec<Finding>,
) {
    for (index, item) in items.iter().enumerate() {
        if findings.len() > MAX_FINDINGS {
            return;
        }
        check(item, &format!("{name}[{index}]"), findings);
    }
}

fn scalar_fits(want: Want, is: ScalarType) -> bool {
    match want {
        Want::Text | Want::TextsOrCommas | Want::Sudo => is != ScalarType::Null,
        Want::Integer => matches!(is, ScalarType::Integer(_)),
        Want::Float => matches!(is, ScalarType::Integer(_) | ScalarType::Float(_)),
        Want::Boolean => matches!(is, ScalarType::Boolean(_)),
        Want::Texts | Want::Mapping(_) | Want::List(_) => false,
    }
}
