//! Why a request has no good answer. The texts are those that users of the original know.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No answer.
    #[error("{method} {url}: {cause}")]
    Transport { method: String, url: String, cause: String },
    /// The server refused, and says why.
    #[error("googleapi: Error {code}: {message}")]
    Refused { code: u16, message: String },
    /// The server refused without a word.
    #[error("googleapi: got HTTP response code {code} with body: {body}")]
    Status { code: u16, body: String },
    #[error("{0} is no answer of a fleet API: {1}")]
    NoJson(String, String),
    #[error("the list of {0} has no end")]
    Endless(&'static str),
}

impl Error {
    /// The answer's status, where there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Refused { code, .. } | Error::Status { code, .. } => Some(*code),
            Error::Transport { .. } | Error::NoJson(..) | Error::Endless(_) => None,
        }
    }

    /// Whether it can be otherwise in a moment: no answer, or one that blames the server.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Transport { .. } => true,
            other => other.code().is_some_and(|code| code >= 500),
        }
    }

    /// Whether the server does not know the path at all: it lacks the additions.
    pub fn is_unknown_path(&self) -> bool {
        match self {
            Error::Refused { code: 404, message } => message.is_empty(),
            Error::Status { code: 404, .. } => true,
            _ => false,
        }
    }
}
