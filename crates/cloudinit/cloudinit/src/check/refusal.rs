//! A reason why part of a config is refused, and rules that all sections share.

use crate::config::Text;
use crate::yaml::Location;

/// The stage of a run at which a refusal is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Parse,
    Apply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub location: Location,
    pub stage: Stage,
    /// Message of the validator.
    pub finding: String,
    /// Message of a run.
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

/// Trims keys and drops empty ones.
pub fn keys(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|key| key.text.trim().to_owned()).filter(|key| !key.is_empty()).collect()
}

/// Refuses line breaks in values that become part of a line or an argument: they would inject another line.
pub(super) fn require_single_line(text: Option<&Text>, what: &str, refusals: &mut Vec<Refusal>) {
    if let Some(text) = text
        && text.text.contains(['\n', '\r', '\0'])
    {
        refusals.push(Refusal::new(text.location, format!("{what} must not hold a line break or NUL")));
    }
}
