//! How a command ends when it does not end well: what standard error is told, and the exit code.

use std::io;

/// The lines for standard error, without the end of the last one; none when it was all said before.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: Option<String>,
    pub exit: u8,
}

/// Wrong use of flags or commands.
const WRONG_USE: u8 = 2;

impl Failure {
    /// Exit code 1, as most failures have.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: 1 }
    }

    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: WRONG_USE }
    }

    /// All is said.
    pub fn silent(exit: u8) -> Failure {
        Failure { text: None, exit }
    }

    pub fn said_wrong_use() -> Failure {
        Failure::silent(WRONG_USE)
    }
}

/// Standard output is gone (`locksmithctl … | head`): nobody is left to be told.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(1),
            _ => Failure::new(format!("writing the result: {error}")),
        }
    }
}
