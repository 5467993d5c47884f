//! File names in a repository.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of a URL (RFC 3986).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A target path that cannot be the path of a file in a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("target path `{0}`: expected names separated by single `/`, none of them `.` or `..`")]
pub struct NameError(String);

/// A role's name as part of a file name: percent-encoded, so that it has no `/`.
#[must_use]
pub fn quoted_role(role: &str) -> String {
    utf8_percent_encode(role, RESERVED).to_string()
}

/// `ROLE.json`, or `VERSION.ROLE.json`, with the role percent-encoded.
#[must_use]
pub fn metadata_file(role: &str, version: Option<u64>) -> String {
    let role = quoted_role(role);
    version.map_or_else(|| format!("{role}.json"), |version| format!("{version}.{role}.json"))
}

/// The percent-encoded path of a target file, with the digest before its last name if there is one.
///
/// # Errors
/// The path would lead out of the targets' folder, or is ambiguous.
pub fn target_file(path: &str, digest: Option<&str>) -> Result<String, NameError> {
    let names: Vec<&str> = path.split('/').collect();
    if names.iter().any(|name| matches!(*name, "" | "." | "..")) {
        return Err(NameError(path.chars().take(200).collect()));
    }
    let mut quoted: Vec<String> = names.into_iter().map(quoted_role).collect();
    if let (Some(digest), Some(last)) = (digest, quoted.last_mut()) {
        *last = format!("{digest}.{last}");
    }
    Ok(quoted.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_stay_in_their_folder() {
        assert_eq!(metadata_file("../a b", Some(3)), "3...%2Fa%20b.json");
        assert_eq!(metadata_file("timestamp", None), "timestamp.json");
        assert_eq!(target_file("a b/ü?.x", Some("00")).unwrap(), "a%20b/00.%C3%BC%3F.x");
        assert_eq!(target_file("a%2F..", None).unwrap(), "a%252F..");
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "./a"] {
            assert!(target_file(bad, None).is_err(), "{bad}");
        }
    }
}
