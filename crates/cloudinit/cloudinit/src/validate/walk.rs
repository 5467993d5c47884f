//! Checks keys and types of the tree against the table of keys.

use crate::finding::{Finding, Severity};
use crate::fix::Fix;
use crate::limits::MAX_FINDINGS;
use crate::schema::{COREOS, DOCUMENT, Key, ValueKind};
use crate::suggestion::closest;
use crate::yaml::{Entry, Item, Location, Mapping, Node, ScalarType, Value};

pub(super) fn document(root: &Node, findings: &mut Vec<Finding>) {
    let Some(mapping) = root.mapping() else { return };
    check_mapping(mapping, DOCUMENT, findings);
    check_misplaced(mapping, findings);
}

/// Reports known keys at the wrong level.
fn check_misplaced(document: &Mapping, findings: &mut Vec<Finding>) {
    for entry in document.entries() {
        let below = COREOS.iter().any(|key| key.name == &*entry.key);
        if below && !DOCUMENT.iter().any(|key| key.name == &*entry.key) {
            let message = format!("{} belongs under coreos", entry.key);
            findings.push(Finding::new(Severity::Info, entry.location, message));
        }
    }
    for entry in document.entries().iter().filter(|entry| is_package_key(&entry.key)) {
        let message =
            "packages are not installed: the system is an image (use a system extension or a container)";
        findings.push(Finding::new(Severity::Info, entry.location, message));
    }
    let coreos = document.get("coreos").and_then(|entry| entry.node.mapping());
    if let Some(entry) = coreos.and_then(|coreos| coreos.get("write_files")) {
        let message = "write_files doesn't belong under coreos";
        findings.push(Finding::new(Severity::Info, entry.location, message));
    }
}

/// Whether cloud-init uses the key for package management.
fn is_package_key(key: &str) -> bool {
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
    let known = closest(&entry.key, keys.iter().map(|key| key.name));
    if let Some(known) = known {
        message.push_str(&format!(" (did you mean {known:?}?)"));
    }
    let fix = known.map(|known| Fix::new(entry.location, &*entry.key, known));
    Finding::new(Severity::Warning, entry.location, message).with_fix(fix)
}

fn check_entry(entry: &Entry, key: &Key, findings: &mut Vec<Finding>) {
    let deprecated = |reason| {
        Finding::new(Severity::Warning, entry.location, format!("deprecated key {:?} ({reason})", key.name))
    };
    findings.extend(key.deprecated.map(deprecated));
    findings.extend(key.not_shipped.map(|reason| deprecated(reason).original_only()));
    check_type(&entry.node, key.name, key.kind, entry.location, findings);
    if let (Some(allowed), Some(scalar)) = (key.allowed, entry.node.scalar())
        && scalar.resolve() != ScalarType::Null
        && !scalar.text.is_empty()
        && !(allowed.test)(&scalar.text)
    {
        let message = format!("invalid value {}", scalar.text);
        findings.push(Finding::new(Severity::Error, entry.location, message));
        if !allowed.choices.is_empty() {
            let message = format!("{} is one of {}", key.name, allowed.choices.join(", "));
            findings.push(Finding::new(Severity::Info, entry.location, message));
        }
    }
}

/// The kind of an item of a list of this kind.
fn item_kind(list: ValueKind, item: &Node) -> ValueKind {
    match list {
        ValueKind::List(keys) => ValueKind::Mapping(keys),
        ValueKind::Groups if item.mapping().is_some() => ValueKind::Groups,
        ValueKind::Commands if item.list().is_some() => ValueKind::TextList,
        _ => ValueKind::Text,
    }
}

fn check_type(node: &Node, name: &str, kind: ValueKind, location: Location, findings: &mut Vec<Finding>) {
    let fits = match (kind, &node.value) {
        (ValueKind::Mapping(keys), Value::Mapping(mapping)) => {
            check_mapping(mapping, keys, findings);
            true
        }
        (
            ValueKind::List(_)
            | ValueKind::TextList
            | ValueKind::TextListOrCommaSeparated
            | ValueKind::Sudo
            | ValueKind::Groups
            | ValueKind::Commands,
            Value::List(items),
        ) => {
            each(
                items,
                name,
                |item, name, findings| {
                    check_type(&item.node, name, item_kind(kind, &item.node), item.location, findings);
                },
                findings,
            );
            true
        }
        (ValueKind::Groups, Value::Mapping(groups)) => {
            for entry in groups.entries().iter().filter(|entry| !entry.node.is_null()) {
                check_type(
                    &entry.node,
                    &entry.raw_key,
                    ValueKind::TextListOrCommaSeparated,
                    entry.location,
                    findings,
                );
            }
            true
        }
        (ValueKind::TextMap, Value::Mapping(texts)) => {
            for entry in texts.entries() {
                check_type(&entry.node, &entry.raw_key, ValueKind::Text, entry.location, findings);
            }
            true
        }
        (kind, Value::Scalar(scalar)) => scalar_fits(kind, scalar.resolve()),
        _ => false,
    };
    if !fits {
        let message = format!("incorrect type for {name:?} (want {})", kind.name());
        findings.push(Finding::new(Severity::Warning, location, message));
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

fn scalar_fits(kind: ValueKind, is: ScalarType) -> bool {
    match kind {
        ValueKind::Text | ValueKind::TextListOrCommaSeparated | ValueKind::Sudo | ValueKind::Groups => {
            is != ScalarType::Null
        }
        ValueKind::Integer => matches!(is, ScalarType::Integer(_)),
        ValueKind::Float => matches!(is, ScalarType::Integer(_) | ScalarType::Float(_)),
        ValueKind::Boolean => matches!(is, ScalarType::Boolean(_)),
        ValueKind::TextList
        | ValueKind::TextMap
        | ValueKind::Mapping(_)
        | ValueKind::List(_)
        | ValueKind::Commands => false,
    }
}
