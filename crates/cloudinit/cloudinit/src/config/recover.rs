//! ssh keys out of a text that is not YAML as a whole, so that one can log in and mend it.
//!
//! It must never give anything but the top level's `ssh_authorized_keys`: of a broken document nothing else
//! can be trusted to be meant as it stands.

use super::{Text, read};
use crate::yaml;

/// A damaged byte is reported before errors that stand above it, so one cut may not do.
const MAX_TRUNCATIONS: usize = 4;

/// The keys of user `core` that stand complete before an error of `text`.
///
/// Two ways are tried and the one with more keys counts: the parser's own up to its error, and the lines
/// before the error's, which also helps where the parser looks ahead.
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
