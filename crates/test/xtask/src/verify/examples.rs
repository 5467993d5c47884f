//! Detects whether the documentation has examples that rustdoc would run.

use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;

/// Fence languages that rustdoc treats as text, as far as we use them.
const TEXT: [&str; 6] = ["text", "json", "toml", "yaml", "sh", "console"];

/// Folders of targets that are not libraries: rustdoc runs nothing of them.
const OTHER_TARGETS: [&str; 3] = ["tests", "benches", "examples"];

pub fn are_in(workspace: &Workspace) -> Result<bool> {
    for file in workspace.files.iter().filter(|file| is_documented(file)) {
        if has_any(&workspace.read(file)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_documented(file: &Path) -> bool {
    let in_other_target = file.iter().any(|part| OTHER_TARGETS.iter().any(|folder| part == *folder));
    file.extension().is_some_and(|end| end == "rs") && !in_other_target
}

/// False positives only cost time. A block is fenced, or indented after an empty line; documentation may also be
/// included from another file.
fn has_any(source: &str) -> bool {
    let mut in_block = false;
    let mut before = "";
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[doc =") || line.starts_with("#![doc =") || line.starts_with("/**") {
            return true;
        }
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            (in_block, before) = (false, "");
            continue;
        };
        let fence = text.trim_start().strip_prefix("```").or_else(|| text.trim_start().strip_prefix("~~~"));
        match fence {
            Some(words) if !in_block && !TEXT.contains(&words.trim()) => return true,
            Some(_) => in_block = !in_block,
            None if !in_block && before.trim().is_empty() && text.starts_with("     ") => return true,
            None => {}
        }
        before = text;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_tests_are_none() {
        for (file, expected) in
            [("crates/a/b/src/lib.rs", true), ("crates/a/b/tests/c/d.rs", false), ("docs/a.md", false)]
        {
            assert_eq!(is_documented(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn what_rustdoc_would_run_is_seen() {
        for none in [
            "/// Adds.\n///\n/// - one\n///   of two\nfn add() {}",
            "//! ```json\n//! {\"a\":\n//!\n//!      1}\n//! ```\n",
            "    // ```\nlet fence = \"```\";",
        ] {
            assert!(!has_any(none), "{none}");
        }
        for one in [
            "/// Adds.\n/// ```\n/// add();\n/// ```\n",
            "    //! ~~~no_run\n",
            "/// ```text\n/// ```\n/// ```should_panic\n",
            "/// Adds.\n///\n///     add();\n",
            "#![doc = include_str!(\"../README.md\")]",
            "/** Adds. */",
        ] {
            assert!(has_any(one), "{one}");
        }
    }
}
