//! Errors of cases: failed, or impossible to run.

use std::io;
use std::path::PathBuf;

use crate::http::HttpError;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The response violates the contract.
    #[error("{0}")]
    Differs(String),
    #[error("{request}")]
    Http { request: String, source: HttpError },
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
    #[error("{location}: {why}")]
    CaseText { location: String, why: String },
    /// The filter matches no case, so nothing was tested.
    #[error("no case that is asked of `{kind}` has `{filter}` in its name")]
    NoCase { kind: &'static str, filter: String },
    /// A third-party client is unavailable, which does not reflect on the server.
    #[error("cannot be fetched: {0}")]
    NotFetched(String),
    #[error("{program} {why}; its last lines:\n{log}")]
    Server { program: PathBuf, why: String, log: String },
}

impl Failure {
    pub fn differs(text: impl Into<String>) -> Self {
        Self::Differs(text.into())
    }

    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
