//! Validates names that become paths or arguments, and normalizes file paths.

use crate::limits::MAX_HOSTNAME_BYTES;

/// Suffixes of files that systemd, networkd and udev read.
const UNIT_SUFFIXES: [&str; 14] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
    "network",
    "netdev",
    "link",
];

/// Units whose name starts with a dash: the root mount and the root slice.
const ROOT_UNITS: [&str; 2] = ["-.mount", "-.slice"];

/// Returns why `name` is not a valid hostname, `None` if it is.
pub fn hostname_problem(name: &str) -> Option<String> {
    if name.len() > MAX_HOSTNAME_BYTES {
        return Some(format!("hostname is longer than {MAX_HOSTNAME_BYTES} bytes"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if !name.chars().all(allowed) {
        return Some(format!("hostname {name:?} has characters other than letters, digits, '-' and '.'"));
    }
    if name.starts_with(['-', '.']) {
        return Some(format!("hostname {name:?} starts with '-' or '.'"));
    }
    None
}

pub(super) fn unit_problem(name: &str) -> Option<String> {
    if let Some(problem) = file_name_problem("unit", name) {
        return Some(problem);
    }
    let blank = |c: char| c.is_whitespace() || c.is_control();
    if name.contains(blank) || (name.starts_with('-') && !ROOT_UNITS.contains(&name)) {
        return Some(format!("unit name {name:?} must not hold blanks or start with '-'"));
    }
    match name.rsplit_once('.') {
        Some((stem, suffix)) if !stem.is_empty() && UNIT_SUFFIXES.contains(&suffix) => None,
        _ => Some(format!("unit name {name:?} has no known suffix such as .service")),
    }
}

pub(super) fn file_name_problem(what: &str, name: &str) -> Option<String> {
    let bad =
        name.contains(['/', '\0', '\n', '\r']) || name.contains("..") || name == "." || name.len() > 255;
    bad.then(|| format!("{what} name {name:?} must not hold '/', '..', a line break or NUL"))
}

pub(super) fn account_problem(what: &str, name: &str) -> Option<String> {
    let bad = name.starts_with('-')
        || name.chars().any(|c| matches!(c, ':' | '/' | ',') || c.is_whitespace() || c.is_control());
    bad.then(|| format!("{what} {name:?} is not allowed: no leading '-', no blanks, ':', ',' or '/'"))
}

/// Makes `path` absolute and removes `.`, `..` and empty components. `..` never leads above `/`.
pub fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
