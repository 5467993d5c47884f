//! Messages on standard error about what a command waits for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::failure::Failure;

/// Commands that finish earlier print no notices.
pub const NOTICE_DELAY: Duration = Duration::from_secs(3);

/// Prints notices after [`NOTICE_DELAY`], and again whenever they change.
#[derive(Debug)]
pub struct Notices {
    started: Instant,
    /// The last text by subject.
    last_texts: BTreeMap<String, String>,
}

/// Subject of [`Notices::report_unavailable`]; not a valid unit name.
const SERVER: &str = "";

impl Notices {
    pub fn new() -> Self {
        Self { started: Instant::now(), last_texts: BTreeMap::new() }
    }

    /// Prints `line` if the subject's `text` has changed. `line` is called with true for the subject's first notice.
    pub fn report(&mut self, subject: &str, text: &str, line: impl FnOnce(bool) -> String) {
        if self.started.elapsed() < NOTICE_DELAY
            || self.last_texts.get(subject).is_some_and(|before| before == text)
        {
            return;
        }
        let is_first = self.last_texts.insert(subject.to_owned(), text.to_owned()).is_none();
        eprintln!("{}", line(is_first));
    }

    /// Prints that fleetd does not answer.
    ///
    /// # Errors
    /// A retry cannot succeed.
    pub fn report_unavailable(&mut self, error: &Error) -> Result<(), Failure> {
        if !error.is_transient() {
            return Err(Failure::new(format!("Error waiting for units: {error}")));
        }
        let text = error.to_string();
        self.report(SERVER, &text, |_| format!("Waiting for a response of fleetd: {text}"));
        Ok(())
    }

    pub fn report_available(&mut self) {
        self.last_texts.remove(SERVER);
    }
}
