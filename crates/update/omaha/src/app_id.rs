//! Application ids: UUIDs with or without braces, case-insensitive.

/// CoreOS's application, as its clients send it.
pub const COREOS_APP_ID: &str = "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}";

/// Whether both ids denote the same application.
pub fn same_app(one: &str, other: &str) -> bool {
    strip_braces(one).eq_ignore_ascii_case(strip_braces(other))
}

fn strip_braces(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('{').and_then(|id| id.strip_suffix('}')).unwrap_or(id)
}

/// The architecture of a request: by board, else by the `os` element, else `amd64`.
pub fn architecture<'a>(board: &str, os: Option<&'a str>) -> &'a str {
    match (board, os) {
        ("amd64-usr", _) => "amd64",
        ("arm64-usr", _) => "aarch64",
        (_, Some("x86_64" | "amd64" | "x64")) => "amd64",
        (_, Some("arm64" | "aarch64")) => "aarch64",
        (_, Some(other)) if !other.is_empty() => other,
        _ => "amd64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_and_case_make_no_difference() {
        for (id, same) in [
            ("{e96281a6-d1af-4bde-9a0a-97b76e56dc57}", true),
            ("e96281a6-d1af-4bde-9a0a-97b76e56dc57", true),
            ("E96281A6-D1AF-4BDE-9A0A-97B76E56DC57", true),
            (" {E96281A6-d1af-4bde-9a0a-97b76e56dc57} ", true),
            ("{e96281a6-d1af-4bde-9a0a-97b76e56dc57", false),
            ("e96281a6-d1af-4bde-9a0a-97b76e56dc58", false),
            ("", false),
        ] {
            assert_eq!(same_app(id, COREOS_APP_ID), same, "{id}");
        }
    }

    #[test]
    fn the_board_takes_precedence_over_the_os() {
        for (board, os, expect) in [
            ("amd64-usr", Some("arm64"), "amd64"),
            ("arm64-usr", None, "aarch64"),
            ("", Some("aarch64"), "aarch64"),
            ("", Some("x86_64"), "amd64"),
            ("riscv-usr", Some("riscv64"), "riscv64"),
            ("", Some(""), "amd64"),
            ("", None, "amd64"),
        ] {
            assert_eq!(architecture(board, os), expect, "{board} {os:?}");
        }
    }
}
