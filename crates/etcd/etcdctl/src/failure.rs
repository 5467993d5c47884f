//! How a command fails: the text for standard error, and the exit code.

use std::io;

use etcd_client::Error;

/// Exit codes, part of the contract: scripts test them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// A message that the original reports with exit code 0.
    Success = 0,
    /// Invalid arguments, and all failures of the member, user and role commands.
    BadArguments = 1,
    /// No endpoint responded to the request for the list of members.
    NoConnection = 2,
    /// The server returned an error, or no endpoint responded to the request itself.
    Server = 4,
    Unhealthy = 5,
}

/// `text` is for standard error, without the last newline; `None` if everything was printed before.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: Option<String>,
    pub exit: Exit,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit }
    }

    /// The bare text, with exit code 1.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::new(Exit::BadArguments, text)
    }

    pub fn silent(exit: Exit) -> Failure {
        Failure { text: None, exit }
    }

    /// `Error:  …`, the form of the key commands.
    pub fn error(exit: Exit, text: &str) -> Failure {
        Failure::new(exit, format!("Error:  {text}"))
    }

    /// An error of a key command, with a line for each attempted endpoint.
    pub fn of(exit: Exit, error: &Error) -> Failure {
        Failure::error(exit, &with_attempts(error))
    }

    /// An error of the member, user and role commands: the bare text.
    pub fn plain(error: &Error) -> Failure {
        Failure::usage(error.to_string())
    }
}

fn with_attempts(error: &Error) -> String {
    let mut text = error.to_string();
    if let Error::Unavailable { attempts } = error {
        for (number, attempt) in attempts.iter().enumerate() {
            text.push_str(&format!("\nerror #{number}: {attempt}"));
        }
        text.push('\n');
    }
    text
}

/// A closed standard output (`etcdctl … | head`) is not reported.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::BadArguments),
            _ => Failure::error(Exit::BadArguments, &format!("writing the result: {error}")),
        }
    }
}
