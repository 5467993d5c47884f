//! A command's failure: the message for stderr, and the exit code.

use std::io;

/// The message, without the final newline; `None` if it was printed already.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: Option<String>,
    pub exit: u8,
}

/// A usage error.
const EXIT_USAGE: u8 = 2;

impl Failure {
    /// With exit code 1.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: 1 }
    }

    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: EXIT_USAGE }
    }

    /// The message was printed already.
    pub fn silent(exit: u8) -> Failure {
        Failure { text: None, exit }
    }

    pub fn reported_usage() -> Failure {
        Failure::silent(EXIT_USAGE)
    }
}

/// A closed stdout (`locksmithctl … | head`) fails silently.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(1),
            _ => Failure::new(format!("writing the result: {error}")),
        }
    }
}
