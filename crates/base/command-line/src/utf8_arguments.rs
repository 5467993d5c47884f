//! Arguments as text.

use std::ffi::OsString;
use std::fmt;

/// An argument that is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUtf8(OsString);

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the argument {:?} is not UTF-8", self.0)
    }
}

impl std::error::Error for NotUtf8 {}

/// The arguments of a process (`std::env::args_os`) as text.
///
/// # Errors
/// One is not UTF-8.
pub fn utf8_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, NotUtf8> {
    arguments.into_iter().map(|argument| argument.into_string().map_err(NotUtf8)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn an_argument_that_is_not_utf8_is_an_error() {
        assert_eq!(utf8_arguments(["a".into(), "ä".into()]), Ok(vec!["a".to_owned(), "ä".to_owned()]));
        let error = utf8_arguments(["a".into(), OsString::from_vec(vec![b'b', 0xff])]).unwrap_err();
        assert_eq!(error.to_string(), r#"the argument "b\xFF" is not UTF-8"#);
    }
}
