//! Why something of a config is not applied, and the small rules that all sections share.

use crate::config::Text;
use crate::yaml::Location;

/// Where in a run a refusal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Parse,
    Apply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub location: Location,
    pub stage: Stage,
    /// In the validator's words.
    pub finding: String,
    /// In a run's words.
    pub failure: String,
}

impl Refusal {
    pub(super) fn new(location: Location, finding: impl Into<String>) -> Self {
        let finding = finding.into();
        Self { location, stage: Stage::Apply, failure: finding.clone(), finding }
    }

    pub(super) fn with_failure(mut self, failure: impl Into<String>) -> Self {
        self.failure = failure.into();
        self
    }

    pub(super) fn at_parse(mut self) -> Self {
        self.stage = Stage::Parse;
        self
    }
}

/// Keys as they are installed: trimmed, no blank ones.
pub fn keys(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|key| key.text.trim().to_owned()).filter(|key| !key.is_empty()).collect()
}

/// Values that end up on one line of a file or in an argument must not bring a second one.
pub(super) fn require_single_line(text: Option<&Text>, what: &str, refusals: &mut Vec<Refusal>) {
    if let Some(text) = text
        && text.text.contains(['\n', '\r', '\0'])
    {
        refusals.push(Refusal::new(text.location, format!("{what} must not hold a line break or NUL")));
    }
}
