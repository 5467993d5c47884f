//! Responses of a metadata service that hold for the whole run.

use std::cell::{OnceCell, RefCell};

/// A session token. It is a secret.
#[derive(Clone, Default)]
pub(super) enum Token {
    #[default]
    Unrequested,
    /// The service does not support tokens, as IMDSv1.
    Unsupported,
    Value(String),
}

#[derive(Default)]
pub struct Cache {
    pub(super) token: RefCell<Token>,
    /// The probe's path and response, which may be the service's only document.
    pub(super) probed: OnceCell<(&'static str, Vec<u8>)>,
}
