//! Keys and types: the tree against the table of keys.

use crate::finding::{Finding, Severity};
use crate::fix::Fix;
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
    for entry in document.entries().iter().filter(|entry| is_of_packages(&entry.key)) {
        let message =
            "packages are not installed: the system is an image (use a system extension or a container)";
        findings.push(Finding::new(Severity::Info, entry.place, message));
    }
    let coreos = document.get("coreos").and_then(|entry| entry.node.mapping());
    if let Some(entry) = coreos.and_then(|coreos| coreos.get("write_files")) {
        let message = "write_files doesn't belong under coreos";
        findings.push(Finding::new(Severity::Info, entry.place, message));
    }
}

/// cloud-init's keys for a package manager.
fn is_of_packages(key: &str) -> bool {
    key == "packages" || key.starts_with("package_")
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
    let known = nearest(&entry.key, keys.iter().map(|key| key.name));
    if let Some(known) = known {
        message.push_str(&format!(" (did you mean {known:?}?)"));
    }
    let fix = known.map(|known| Fix::new(entry.place, &*entry.key, known));
    Finding::new(Severity::Warning, entry.place, message).with_fix(fix)
}

fn check_entry(entry: &Entry, key: &Key, findings: &mut Vec<Finding>) {
    let deprecated = |reason| {
        Finding::new(Severity::Warning, entry.place, format!("deprecated key {:?} ({reason})", key.name))
    };
    findings.extend(key.deprecated.map(deprecated));
    findings.extend(key.not_shipped.map(|reason| deprecated(reason).of_original()));
    check_type(&entry.node, key.name, key.want, entry.place, findings);
    if let (Some(allowed), Some(scalar)) = (key.allowed, entry.node.scalar())
        && scalar.resolve() != ScalarType::Null
        && !scalar.text.is_empty()
        && !(allowed.test)(&scalar.text)
    {
        let message = format!("invalid value {}", scalar.text);
        findings.push(Finding::new(Severity::Error, entry.place, message));
        if !allowed.choices.is_empty() {
            let message = format!("{} is one of {}", key.name, allowed.choices.join(", "));
            findings.push(Finding::new(Severity::Info, entry.place, message));
        }
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
        (Want::Groups, Value::List(items)) => {
            each(
                items,
                name,
                |item, name, findings| {
                    let want = if item.node.mapping().is_some() { Want::Groups } else { Want::Text };
                    check_type(&item.node, name, want, item.place, findings);
                },
                findings,
            );
            true
        }
        (Want::Groups, Value::Mapping(groups)) => {
            for entry in groups.entries().iter().filter(|entry| !entry.node.is_null()) {
                check_type(&entry.node, &entry.written, Want::TextsOrCommas, entry.place, findings);
            }
            true
        }
        (Want::TextsByName, Value::Mapping(texts)) => {
            for entry in texts.entries() {
                check_type(&entry.node, &entry.written, Want::Text, entry.place, findings);
            }
            true
        }
        (Want::Commands, Value::List(items)) => {
            each(
                items,
                name,
                |item, name, findings| {
                    let want = if item.node.list().is_some() { Want::Texts } else { Want::Text };
                    check_type(&item.node, name, want, item.place, findings);
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
        Want::Text | Want::TextsOrCommas | Want::Sudo | Want::Groups => is != ScalarType::Null,
        Want::Integer => matches!(is, ScalarType::Integer(_)),
        Want::Float => matches!(is, ScalarType::Integer(_) | ScalarType::Float(_)),
        Want::Boolean => matches!(is, ScalarType::Boolean(_)),
        Want::Texts | Want::TextsByName | Want::Mapping(_) | Want::List(_) | Want::Commands => false,
    }
}
