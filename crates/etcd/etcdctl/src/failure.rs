//! How a command ends when it does not end well: what standard error is told, and the exit code.

use std::io;

use etcd_client::Error;

/// Scripts test these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// For what was said, but was always reported as success.
    Success = 0,
    /// Bad arguments, and whatever goes wrong with members, users and roles.
    BadArguments = 1,
    /// No member could be asked for the list of members.
    NoConnection = 2,
    /// The server refused, or was not there for the request itself.
    Server = 4,
    Unhealthy = 5,
}

/// The lines for standard error, without the end of the last one; none when it was all said before.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub text: Option<String>,
    pub exit: Exit,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { text: Some(text.into()), exit }
    }

    /// A plain sentence, exit code 1.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure::new(Exit::BadArguments, text)
    }

    pub fn silent(exit: Exit) -> Failure {
        Failure { text: None, exit }
    }

    /// `Error:  …`, as key commands put it.
    pub fn error(exit: Exit, text: &str) -> Failure {
        Failure::new(exit, format!("Error:  {text}"))
    }

    /// An error of a key command, with a line for each endpoint that was tried.
    pub fn of(exit: Exit, error: &Error) -> Failure {
        Failure::error(exit, &with_attempts(error))
    }

    /// An error of members, users and roles: the bare text.
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

/// Standard output is gone (`etcdctl … | head`): nobody is left to be told.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::BadArguments),
            _ => Failure::error(Exit::BadArguments, &format!("writing the result: {error}")),
        }
    }
}
