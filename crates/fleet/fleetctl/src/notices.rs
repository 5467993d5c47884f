//! What a command waits for, on standard error.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::answer::Error;
use crate::failure::Failure;

/// A command that takes longer says what it waits for.
pub const SILENCE: Duration = Duration::from_secs(3);

/// Prints what is waited for after [`SILENCE`], and each time that it changes.
#[derive(Debug)]
pub struct Notices {
    begin: Instant,
    /// By subject: the last text.
    told: BTreeMap<String, String>,
}

/// The subject of [`Notices::no_answer`]. No unit has this name.
const SERVER: &str = "";

impl Notices {
    pub fn new() -> Self {
        Self { begin: Instant::now(), told: BTreeMap::new() }
    }

    /// Prints `line` of a subject where `text` is new.
    pub fn tell(&mut self, subject: &str, text: &str, line: impl FnOnce(bool) -> String) {
        if self.begin.elapsed() < SILENCE || self.told.get(subject).is_some_and(|before| before == text) {
            return;
        }
        let is_first = self.told.insert(subject.to_owned(), text.to_owned()).is_none();
        eprintln!("{}", line(is_first));
    }

    /// Prints that fleetd does not answer for the moment.
    ///
    /// # Errors
    /// It will not answer otherwise later: it refuses the request.
    pub fn no_answer(&mut self, error: &Error) -> Result<(), Failure> {
        if !error.may_pass() {
            return Err(Failure::new(format!("Error waiting for units: {error}")));
        }
        let text = error.to_string();
        self.tell(SERVER, &text, |_| format!("Waiting for fleetd to answer: {text}"));
        Ok(())
    }

    pub fn answered(&mut self) {
        self.told.remove(SERVER);
    }
}
