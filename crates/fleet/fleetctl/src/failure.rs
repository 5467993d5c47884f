//! Failures of commands: the message for standard error, and the exit code.

use std::io;

/// `text` has no trailing newline; `None` if everything is already printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: Option<String>,
    pub exit: u8,
}

/// Exit code for incorrect usage.
pub const EXIT_USAGE: u8 = 2;

/// Exit code for a failed SSH connection, as in `ssh`.
pub const EXIT_NO_CONNECTION: u8 = 255;

impl Failure {
    /// Exits with 1.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: 1 }
    }

    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: EXIT_USAGE }
    }

    pub fn connection(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: EXIT_NO_CONNECTION }
    }

    /// Prints nothing; `exit` may be 0.
    pub fn silent(exit: u8) -> Failure {
        Failure { text: None, exit }
    }

    /// Prints a message but exits with 0.
    pub fn warning(text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit: 0 }
    }
}

/// A closed standard output (`fleetctl … | head`) is not reported.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(1),
            _ => Failure::new(format!("writing the result: {error}")),
        }
    }
}
