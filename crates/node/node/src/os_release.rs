//! `/usr/lib/os-release` of the image.

use std::fs;

use crate::root::Root;

pub const OS_RELEASE: &str = "/usr/lib/os-release";

/// The value of `key` without its quotes; logs to stderr if the file is missing.
pub fn value(root: &Root, key: &str) -> Option<String> {
    let text = match fs::read_to_string(root.at(OS_RELEASE)) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read {OS_RELEASE}: {error}");
            return None;
        }
    };
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?.trim();
    let quote = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    Some(quote('"').or_else(|| quote('\'')).unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_a_shell_would() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert_eq!(value(&root, "VERSION_ID"), None);
        fs::create_dir_all(root.at("/usr/lib")).unwrap();
        for (text, expected) in [
            ("NAME=x\nVERSION_ID=1.2\n", Some("1.2")),
            ("VERSION_ID=\"1.2\"\n", Some("1.2")),
            ("VERSION_ID='1.2'\n", Some("1.2")),
            ("VERSION=1\n", None),
        ] {
            fs::write(root.at(OS_RELEASE), text).unwrap();
            assert_eq!(value(&root, "VERSION_ID").as_deref(), expected, "{text}");
        }
    }
}
