//! PINs: typed, or read from a file. Each is tried once.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use cryptoki::types::AuthPin;

use crate::error::Cause;
use crate::tries::Tries;

/// Maximum size of a file with a PIN in bytes.
const MAX_FILE: u64 = 1024;

/// A token's PIN. It is in no `Debug` output, and its memory is cleared.
#[derive(Debug, Clone)]
pub struct Pin(pub(crate) AuthPin);

/// Gets PINs from their user.
pub trait PinPrompt {
    /// The PIN of a token. Called at most once per token and command: a second attempt is the user's decision.
    ///
    /// # Errors
    /// Why there is none.
    fn pin(&self, request: &PinRequest<'_>) -> Result<Pin, Box<dyn Error + Send + Sync>>;
}

/// Which PIN is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinRequest<'a> {
    /// The token's label, serial number and slot.
    pub token: &'a str,
    /// What wrong PINs have left.
    pub tries: Tries,
}

impl Pin {
    /// From typed text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(AuthPin::new(text.into_boxed_str()))
    }

    pub(crate) fn read(file: &Path) -> Result<Self, Cause> {
        let read = || {
            let mut text = String::new();
            let size = File::open(file)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            let line = line.strip_suffix('\r').unwrap_or(line);
            if size as u64 > MAX_FILE || line.contains('\n') {
                return Err(io::Error::other("more than one line"));
            }
            if line.is_empty() {
                return Err(io::Error::other("the file is empty"));
            }
            Ok(Self::new(line.to_owned()))
        };
        read().map_err(|source| Cause::PinSource { file: file.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_line_and_no_error_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pin");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Pin::read(&file)
        };
        assert!(read("271828").is_ok() && read("271828\n").is_ok() && read("271828\r\n").is_ok());
        assert!(!format!("{:?}", read("271828").unwrap()).contains("271828"));
        for text in ["", "\n", "271828\n271828\n", &"271828".repeat(200)] {
            let error = read(text).unwrap_err();
            assert!(
                !format!("{error:?}").contains("271828") && error.to_string().contains("cannot read the PIN")
            );
        }
        assert!(matches!(Pin::read(&folder.path().join("x")), Err(Cause::PinSource { .. })));
    }
}
