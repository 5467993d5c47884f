//! Looks settings up in flags, environment variables and the flags' defaults, and keeps their origin for errors.

use std::fmt;

use crate::parsed_args::ParsedArgs;

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// An invalid setting, with its origin and the cause.
#[derive(Debug)]
pub struct SettingError {
    /// Where the value was set.
    pub origin: Origin,
    /// Why it is invalid.
    pub cause: String,
}

impl SettingError {
    /// The error of the value from `origin`.
    pub fn new(origin: Origin, cause: impl fmt::Display) -> SettingError {
        SettingError { origin, cause: cause.to_string() }
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.origin, self.cause)
    }
}

impl std::error::Error for SettingError {}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The flag of this name, without `--`.
    Flag(&'static str),
    /// The environment variable of this name.
    Variable(String),
    /// The default in the flag's description.
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

/// What `--flag=` without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyFlag {
    /// The setting is unset, whatever its variable is.
    HidesVariable,
    /// The flag is unset, its variable counts.
    IsUnset,
}

/// The settings of one program: its flags, and the variables `PREFIX_FLAG`. An empty variable counts as unset.
pub struct SettingSource<'a> {
    /// The command line.
    pub args: &'a ParsedArgs,
    /// The variables of the process; of a map in tests.
    pub environment: Environment<'a>,
    /// Such as `FLEETCTL`.
    pub prefix: &'static str,
    /// The program's rule for `--flag=`.
    pub empty_flag: EmptyFlag,
}

impl SettingSource<'_> {
    /// The flag, else its variable; never empty.
    pub fn text(&self, flag: &'static str) -> Option<String> {
        self.find(flag).map(|(_, text)| text)
    }

    /// The flag, else its variable, else its default; empty if there is none.
    pub fn text_or_default(&self, flag: &'static str) -> String {
        self.text(flag).unwrap_or_else(|| self.args.default_value(flag).to_owned())
    }

    /// All values of a repeatable flag, else its variable, else its default.
    pub fn texts_or_default(&self, flag: &'static str) -> (Origin, Vec<String>) {
        let values = self.args.texts(flag);
        if !values.is_empty() {
            return (Origin::Flag(flag), values.to_vec());
        }
        let (origin, text) = self.find_or_default(flag);
        (origin, vec![text])
    }

    /// An environment variable by its full name; never empty.
    pub fn variable(&self, name: &str) -> Option<(Origin, String)> {
        let text = (self.environment)(name).filter(|text| !text.is_empty())?;
        Some((Origin::Variable(name.to_owned()), text))
    }

    /// The flag, else its variable, with its origin; never empty.
    pub fn find(&self, flag: &'static str) -> Option<(Origin, String)> {
        match self.args.text(flag) {
            Some("") if self.empty_flag == EmptyFlag::HidesVariable => None,
            Some("") | None => self.variable(&self.variable_name(flag)),
            Some(text) => Some((Origin::Flag(flag), text.to_owned())),
        }
    }

    /// Parses the flag, else its variable.
    ///
    /// # Errors
    /// The value is invalid.
    pub fn read<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, SettingError> {
        let Some((origin, text)) = self.find(flag) else { return Ok(None) };
        parse(&text).map(Some).map_err(|error| SettingError::new(origin, error))
    }

    /// Parses the flag, else its variable, else its default.
    ///
    /// # Errors
    /// The value is invalid.
    pub fn read_or_default<T, E: fmt::Display>(
        &self,
        flag: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, SettingError> {
        let (origin, text) = self.find_or_default(flag);
        parse(&text).map_err(|error| SettingError::new(origin, error))
    }

    fn find_or_default(&self, flag: &'static str) -> (Origin, String) {
        self.find(flag).unwrap_or_else(|| (Origin::Default, self.args.default_value(flag).to_owned()))
    }

    fn variable_name(&self, flag: &str) -> String {
        format!("{}_{}", self.prefix, flag.replace('-', "_").to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flag, ValueKind, before_arguments};

    const FLAGS: &[Flag] = &[
        Flag::new("ssh-user", ValueKind::Text, "").default("core"),
        Flag::new("file", ValueKind::File, ""),
        Flag::switch("debug", ""),
    ];

    /// The setting and its origin, by flag, variable and default.
    #[track_caller]
    fn check(arguments: &[&str], variable: Option<&str>, empty_flag: EmptyFlag, expect: &str) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let args = before_arguments(FLAGS, &arguments).unwrap();
        let environment =
            |name: &str| variable.filter(|_| name == "TOOL_SSH_USER").map(|text| text.to_owned());
        let source = SettingSource { args: &args, environment: &environment, prefix: "TOOL", empty_flag };
        let (origin, text) = source.find_or_default("ssh-user");
        assert_eq!(format!("{origin}: {text}"), expect);
        assert_eq!(source.text_or_default("ssh-user"), text);
        assert_eq!(source.text("ssh-user"), (origin != Origin::Default).then_some(text));
    }

    #[test]
    fn flag_then_variable_then_default() {
        let hides = EmptyFlag::HidesVariable;
        check(&[], None, hides, "the default: core");
        check(&[], Some(""), hides, "the default: core");
        check(&[], Some("v"), hides, "$TOOL_SSH_USER: v");
        check(&["--ssh-user=f"], Some("v"), hides, "-ssh-user: f");
        check(&["--ssh-user=f", "--ssh-user=g"], Some("v"), hides, "-ssh-user: g");
    }

    #[test]
    fn empty_flags() {
        check(&["--ssh-user="], Some("v"), EmptyFlag::HidesVariable, "the default: core");
        check(&["--ssh-user="], Some("v"), EmptyFlag::IsUnset, "$TOOL_SSH_USER: v");
        check(&["--ssh-user="], None, EmptyFlag::IsUnset, "the default: core");
    }

    #[test]
    fn defaults_of_flags_without_one() {
        let args = before_arguments(FLAGS, &[]).unwrap();
        let (environment, empty_flag) = (&|_: &str| None, EmptyFlag::IsUnset);
        let source = SettingSource { args: &args, environment, prefix: "TOOL", empty_flag };
        assert_eq!(source.text_or_default("file"), "");
        assert_eq!(source.text_or_default("debug"), "false");
        let error = source.read_or_default("file", |text| Err::<(), _>(format!("{text:?} is no file")));
        assert_eq!(error.unwrap_err().to_string(), "the default: \"\" is no file");
    }
}
