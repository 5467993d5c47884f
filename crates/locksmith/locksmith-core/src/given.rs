//! Settings as they are given: by a flag, else by the environment, each with its place.

use std::fmt;

use command_line::ParsedArgs;
use thiserror::Error;

/// Looks up a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A setting that cannot be used: where it stands, and why not.
#[derive(Debug, Error)]
#[error("{place}: {cause}")]
pub struct SettingError {
    pub place: Place,
    pub cause: String,
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Flag(&'static str),
    Variable(String),
    /// Nothing was given.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(to, "-{name}"),
            Self::Variable(name) => write!(to, "${name}"),
            Self::Default => to.write_str("the default"),
        }
    }
}

/// One program's settings: its flags, and the variables `PREFIX_FLAG`.
pub struct Source<'a> {
    pub flags: &'a ParsedArgs,
    pub environment: Environment<'a>,
    /// `LOCKSMITHCTL` or `LOCKSMITHD`.
    pub prefix: &'static str,
}

impl Source<'_> {
    /// The flag, else its variable; an empty one is none.
    pub fn text(&self, flag: &'static str) -> Option<(Place, String)> {
        if let Some(text) = self.flags.text(flag) {
            return (!text.is_empty()).then(|| (Place::Flag(flag), text.to_owned()));
        }
        self.variable(&self.variable_of(flag))
    }

    /// All values of a flag that may be repeated, else its variable.
    pub fn texts(&self, flag: &'static str) -> Option<(Place, Vec<String>)> {
        let given = self.flags.texts(flag);
        if !given.is_empty() {
            return Some((Place::Flag(flag), given.to_vec()));
        }
        self.variable(&self.variable_of(flag)).map(|(place, text)| (place, vec![text]))
    }

    pub fn variable(&self, name: &str) -> Option<(Place, String)> {
        let text = (self.environment)(name).filter(|text| !text.is_empty())?;
        Some((Place::Variable(name.to_owned()), text))
    }

    /// A value that is read from its text.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingError> {
        let Some((place, text)) = self.text(flag) else { return Ok(None) };
        match parse(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(refused(place, error)),
        }
    }

    fn variable_of(&self, flag: &str) -> String {
        format!("{}_{}", self.prefix, flag.replace('-', "_").to_uppercase())
    }
}

pub fn refused(place: Place, cause: impl fmt::Display) -> SettingError {
    SettingError { place, cause: cause.to_string() }
}
