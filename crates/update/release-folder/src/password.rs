//! Passwords of secret keys.

use std::error::Error;
use std::fmt;
use std::path::Path;

/// As in minisign.
const MAX_BYTES: usize = 1024;

/// Why a text is not a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error("the password is longer than {MAX_BYTES} bytes, which minisign does not accept")]
    TooLong,
    #[error("the password has more than one line, which minisign does not accept")]
    Lines,
}

/// A password that encrypts secret keys. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Accepts a line with or without its end.
    ///
    /// # Errors
    /// minisign could not read it from a terminal.
    pub fn of_line(line: &str) -> Result<Self, PasswordError> {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match text {
            "" => Err(PasswordError::Empty),
            _ if text.len() > MAX_BYTES => Err(PasswordError::TooLong),
            _ if text.contains(['\n', '\r']) => Err(PasswordError::Lines),
            _ => Ok(Self(text.to_owned())),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.0.clone()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Password(..)")
    }
}

/// Provides the passwords of encrypted keys.
pub trait Passwords {
    /// The next password to try for the key at `key`, of which the first `rejected` ones were wrong. `None` if there
    /// are no more.
    ///
    /// # Errors
    /// No password can be obtained.
    fn next(&mut self, key: &Path, rejected: usize)
    -> Result<Option<Password>, Box<dyn Error + Send + Sync>>;
}

/// One password, or none, for all keys.
impl Passwords for Option<Password> {
    fn next(&mut self, _: &Path, rejected: usize) -> Result<Option<Password>, Box<dyn Error + Send + Sync>> {
        Ok(self.clone().filter(|_| rejected == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_and_is_not_printed() {
        let long = "x".repeat(MAX_BYTES + 1);
        for (line, expected) in [
            ("", Err(PasswordError::Empty)),
            ("\n", Err(PasswordError::Empty)),
            ("\r\n", Err(PasswordError::Empty)),
            ("a\nb\n", Err(PasswordError::Lines)),
            (&*long, Err(PasswordError::TooLong)),
            (" a b \r\n", Ok(" a b ")),
            ("pass", Ok("pass")),
        ] {
            assert_eq!(Password::of_line(line), expected.map(|text| Password(text.into())), "{line:?}");
        }
        assert_eq!(format!("{:?}", Password::of_line("secret")), "Ok(Password(..))");
    }
}
