//! Names of apps in a pod: the App Container specification's AC Name.

use crate::limits::MAX_NAME;

/// A text that is no name of an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "app name {0:?}; expected lower-case letters and digits, joined by single dashes, at most {MAX_NAME}"
)]
pub struct AppNameError(String);

/// The default name of an image's app: the last part of its repository, `etcd` of `quay.io/coreos/etcd`. Characters that
/// names cannot have become dashes.
#[must_use]
pub fn app_name(repository: &str) -> String {
    let last = repository.rsplit('/').next().unwrap_or_default();
    let mut name = String::new();
    for char in last.to_ascii_lowercase().chars() {
        match char {
            'a'..='z' | '0'..='9' => name.push(char),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(MAX_NAME);
    let trimmed = name.trim_end_matches('-');
    if trimmed.is_empty() { "app".to_owned() } else { trimmed.to_owned() }
}

/// Checks a name that the user passes.
///
/// # Errors
/// It has other characters, or too many.
pub fn check_app_name(name: &str) -> Result<(), AppNameError> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let parts = name.split('-').all(|part| !part.is_empty() && part.bytes().all(valid));
    if parts && name.len() <= MAX_NAME { Ok(()) } else { Err(AppNameError(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_give_names() {
        let check = |repository: &str, expected: &str| {
            let name = app_name(repository);
            assert_eq!(name, expected, "{repository}");
            check_app_name(&name).unwrap();
        };
        check("library/busybox", "busybox");
        check("coreos/etcd", "etcd");
        check("a/my_app__2.1", "my-app-2-1");
        check("a/_x_", "x");
        check("a/__", "app");
        check(&"a".repeat(100), &"a".repeat(63));
    }

    #[test]
    fn names_of_users_are_checked() {
        let check = |name: &str, valid: bool| assert_eq!(check_app_name(name).is_ok(), valid, "{name}");
        check("a-1", true);
        check("a", true);
        check("", false);
        check("-a", false);
        check("a--b", false);
        check("A", false);
        check("../a", false);
        check(&"a".repeat(64), false);
    }
}
