//! Recovers SSH keys from a document that is not valid YAML, so that an operator can log in and fix it.
//!
//! Only the top-level `ssh_authorized_keys` are recovered: in a broken document no other value is reliable.

use super::{Text, read};
use crate::yaml;

/// Truncation is repeated: invalid bytes are reported before other errors on earlier lines.
const MAX_TRUNCATIONS: usize = 4;

/// Returns the keys of user `core` that are complete before the first error in `text`.
///
/// Tries two ways and takes the one with more keys: the partial tree of the parser, and the document
/// truncated before the line of the error, which helps if the parser reads ahead.
pub fn keys_before_error(text: &[u8]) -> Vec<Text> {
    let mut best = read(yaml::read_until_error(text).as_deref()).ssh_authorized_keys;
    let mut rest = text;
    for _ in 0..MAX_TRUNCATIONS {
        match yaml::read(rest) {
            Err(error) => rest = lines_before(rest, error.location.line),
            Ok(document) => {
                let keys = read(document.root.as_deref()).ssh_authorized_keys;
                if keys.len() > best.len() {
                    best = keys;
                }
                break;
            }
        }
    }
    best
}

fn lines_before(text: &[u8], line: u32) -> &[u8] {
    let before = (line as usize).saturating_sub(1);
    let length = text.split_inclusive(|byte| *byte == b'\n').take(before).map(<[u8]>::len).sum();
    &text[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expect: &[&str]) {
        let text_lossy = String::from_utf8_lossy(text);
        assert!(yaml::read(text).is_err(), "{text_lossy}");
        let keys = keys_before_error(text);
        assert_eq!(keys.iter().map(|key| &*key.text).collect::<Vec<_>>(), expect, "{text_lossy}");
    }

    #[test]
    fn keys_before_the_error_count() {
        for rest in [
            "a: b: c\n",
            "write_files:\n\t- path: /x\n",
            "hostname: \"x\n",
            "hostname: [a, b\n",
            "x: *nothing\n",
            "\thostname: a\n",
            "}\n",
            "x: \u{1}\n",
            "x: !!binary '*'\n",
            "<<: 3\n",
        ] {
            for head in ["", "hostname: h\n", "users: [{name: u, ssh_authorized_keys: [no]}]\n"] {
                let text = format!(
                    "#cloud-config\n{head}ssh_authorized_keys:\n  - ssh-rsa A\n  - 'ssh-rsa B'\n{rest}"
                );
                check(text.as_bytes(), &["ssh-rsa A", "ssh-rsa B"]);
            }
        }
        check(b"ssh-authorized-keys: [a]\nssh_authorized_keys: [b]\nx: \xff\n", &["a", "b"]);
        check(b"{ssh_authorized_keys: [a, b], x: }}", &["a", "b"]);
        check(b"ssh_authorized_keys: [a]\nx: \xff\ny: }\n", &["a"]);
    }

    #[test]
    fn incomplete_or_nested_keys_are_ignored() {
        check(b"a: b: c\nssh_authorized_keys: [a]\n", &[]);
        check(b"ssh_authorized_keys:\n- a\n- \"b\nhostname: x\n", &["a"]);
        check(b"coreos:\n  ssh_authorized_keys: [a]\n  x: }\n", &[]);
        check(b"users:\n- {name: u, ssh_authorized_keys: [a], }}\n", &[]);
        check(b"x: |\n  ssh_authorized_keys: [a]\ny: }\n", &[]);
        check(b"ssh_authorized_keys: {a: b}\ny: }\n", &[]);
        check(b"}", &[]);
    }
}
