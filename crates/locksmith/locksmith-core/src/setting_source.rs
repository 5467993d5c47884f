//! Looks settings up in flags and environment variables, and keeps their origin for errors.

use std::fmt;

use command_line::ParsedArgs;
use thiserror::Error;

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// An invalid setting, with its origin and the cause.
#[derive(Debug, Error)]
#[error("{origin}: {cause}")]
pub struct SettingError {
    pub origin: Origin,
    pub cause: String,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Variable(String),
    /// The built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(to, "-{name}"),
            Self::Variable(name) => write!(to, "${name}"),
            Self::Default => to.write_str("the default"),
        }
    }
}

/// The settings of one program: its flags, and the variables `PREFIX_FLAG`.
pub struct SettingSource<'a> {
    pub flags: &'a ParsedArgs,
    pub environment: Environment<'a>,
    /// `LOCKSMITHCTL` or `LOCKSMITHD`.
    pub prefix: &'static str,
}

impl SettingSource<'_> {
    /// The flag, else its variable. Empty values count as unset.
    pub fn text(&self, flag: &'static str) -> Option<(Origin, String)> {
        if let Some(text) = self.flags.text(flag) {
            return (!text.is_empty()).then(|| (Origin::Flag(flag), text.to_owned()));
        }
        self.variable(&self.variable_name(flag))
    }

    /// All values of a repeatable flag, else its variable.
    pub fn texts(&self, flag: &'static str) -> Option<(Origin, Vec<String>)> {
        let values = self.flags.texts(flag);
        if !values.is_empty() {
            return Some((Origin::Flag(flag), values.to_vec()));
        }
        self.variable(&self.variable_name(flag)).map(|(origin, text)| (origin, vec![text]))
    }

    pub fn variable(&self, name: &str) -> Option<(Origin, String)> {
        let text = (self.environment)(name).filter(|text| !text.is_empty())?;
        Some((Origin::Variable(name.to_owned()), text))
    }

    /// Parses the value of a flag or its variable.
    ///
    /// # Errors
    /// The value is invalid.
    pub fn read<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingError> {
        let Some((origin, text)) = self.text(flag) else { return Ok(None) };
        match parse(&text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(invalid(origin, error)),
        }
    }

    fn variable_name(&self, flag: &str) -> String {
        format!("{}_{}", self.prefix, flag.replace('-', "_").to_uppercase())
    }
}

pub fn invalid(origin: Origin, cause: impl fmt::Display) -> SettingError {
    SettingError { origin, cause: cause.to_string() }
}
