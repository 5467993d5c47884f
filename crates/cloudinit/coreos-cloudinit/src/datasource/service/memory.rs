//! What a service told that is true for the whole run.

use std::cell::{OnceCell, RefCell};

/// It is a secret.
#[derive(Clone, Default)]
pub(super) enum Token {
    #[default]
    NotAsked,
    /// The service knows no tokens, as its first version.
    None,
    Is(String),
}

#[derive(Default)]
pub struct Memory {
    pub(super) token: RefCell<Token>,
    /// By which the service was found: its path and the answer, which may be all that there is to ask for.
    pub(super) first: OnceCell<(&'static str, Vec<u8>)>,
}
