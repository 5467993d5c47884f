//! A unit file: original text, options and normalized text.

use std::collections::HashMap;

use crate::finding::{Finding, Position};
use crate::hash::UnitHash;
use crate::option::UnitOption;
use crate::parse::{self, ParseError, ParseErrorKind};

/// A unit file. Equality compares texts; units are the same if their [`UnitFile::hash`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFile {
    text: String,
    options: Vec<UnitOption>,
}

impl UnitFile {
    /// Parses a complete text, up to the first syntax error.
    pub fn from_text(text: &str) -> Result<Self, ParseError> {
        Ok(Self { text: text.to_owned(), options: parse::parse(text)? })
    }

    /// For files with arbitrary contents.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::from_text(text),
            Err(error) => {
                let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                let position = Position::of(&before, before.len());
                Err(ParseError { position, kind: ParseErrorKind::NotText })
            }
        }
    }

    /// As in API requests. The text is the normalized one.
    pub fn from_options(options: Vec<UnitOption>) -> Self {
        Self { text: normalised(&options), options }
    }

    /// The original text with comments and blank lines.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// In order of the text.
    pub fn options(&self) -> &[UnitOption] {
        &self.options
    }

    /// The values of an option, in order.
    pub fn values<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = move |option: &&UnitOption| option.section == section && option.name == name;
        self.options.iter().filter(of_name).map(|option| option.value.as_str())
    }

    /// False for a section without options.
    pub fn has_section(&self, section: &str) -> bool {
        self.options.iter().any(|option| option.section == section)
    }

    /// The text that is stored, hashed and passed to systemd: without comments and blank lines, each section once,
    /// ordered by first option.
    pub fn normalised(&self) -> String {
        normalised(&self.options)
    }

    /// Hash of the normalized text, without the unit's name.
    pub fn hash(&self) -> UnitHash {
        UnitHash::of(&self.normalised())
    }

    /// The first `Description` of `[Unit]`.
    pub fn description(&self) -> Option<&str> {
        self.values("Unit", "Description").next()
    }

    /// Likely mistakes that systemd and the cluster manager would ignore silently.
    pub fn remarks(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for option in &self.options {
            if option.name.is_empty() {
                findings.push(Finding::warning(option.position, "an option without a name does nothing"));
            }
            if option.value.ends_with('\\') {
                let message = format!("{} ends in a backslash, but no line follows", option.name);
                findings.push(Finding::warning(option.position, message));
            }
        }
        findings
    }
}

fn normalised(options: &[UnitOption]) -> String {
    let mut index_of: HashMap<&str, usize> = HashMap::new();
    let mut sections: Vec<String> = Vec::new();
    for option in options {
        let index = *index_of.entry(&option.section).or_insert_with(|| {
            sections.push(format!("[{}]\n", option.section));
            sections.len() - 1
        });
        let section = &mut sections[index];
        section.extend([option.name.as_str(), "=", option.value.as_str(), "\n"]);
    }
    sections.join("\n")
}
