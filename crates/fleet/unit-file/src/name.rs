//! Unit names and templates.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::limits::NAME_BYTES;

/// The type of a unit: the suffix of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the suffix of its name")]
pub enum UnitKind {
    Automount,
    BusName,
    Device,
    Mount,
    Path,
    Scope,
    Service,
    Slice,
    Snapshot,
    Socket,
    Swap,
    Target,
    Timer,
}

const KINDS: [(UnitKind, &str); 13] = [
    (UnitKind::Automount, "automount"),
    (UnitKind::BusName, "busname"),
    (UnitKind::Device, "device"),
    (UnitKind::Mount, "mount"),
    (UnitKind::Path, "path"),
    (UnitKind::Scope, "scope"),
    (UnitKind::Service, "service"),
    (UnitKind::Slice, "slice"),
    (UnitKind::Snapshot, "snapshot"),
    (UnitKind::Socket, "socket"),
    (UnitKind::Swap, "swap"),
    (UnitKind::Target, "target"),
    (UnitKind::Timer, "timer"),
];

impl UnitKind {
    /// Case sensitive.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        KINDS.iter().find(|(_, text)| *text == suffix).map(|(kind, _)| *kind)
    }

    /// Whether the agent can run it: the original's seven types, and targets.
    pub fn runs(self) -> bool {
        matches!(
            self,
            Self::Automount
                | Self::Device
                | Self::Mount
                | Self::Path
                | Self::Service
                | Self::Socket
                | Self::Target
                | Self::Timer
        )
    }

    fn has_templates(self) -> bool {
        matches!(self, Self::Path | Self::Service | Self::Socket | Self::Target | Self::Timer)
    }
}

/// A valid name. Cheap to clone; ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(Arc<str>);

/// The texts are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum NameError {
    #[error("unit name cannot be empty")]
    Empty,
    #[error("unit name exceeds maximum length ({NAME_BYTES})")]
    TooLong,
    #[error("unit name must contain \".\"")]
    NoDot,
    #[error("unit name cannot end in \".\"")]
    EndsInDot,
    #[error("invalid unit type: {0:?}")]
    UnknownKind(String),
    #[error("invalid unit type for template: {0:?}")]
    NoTemplates(String),
    #[error("invalid character '{}' in unit name", .0.escape_debug())]
    BadCharacter(char),
    #[error("unit name cannot start in \"@\"")]
    StartsWithAt,
}

impl UnitName {
    /// Checks are in the contract's order: the first that fails is reported.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES {
            return Err(NameError::TooLong);
        }
        let (stem, suffix) = text.rsplit_once('.').ok_or(NameError::NoDot)?;
        if suffix.is_empty() {
            return Err(NameError::EndsInDot);
        }
        let kind = UnitKind::from_suffix(suffix).ok_or_else(|| NameError::UnknownKind(suffix.to_owned()))?;
        if text.contains('@') && !kind.has_templates() {
            return Err(NameError::NoTemplates(suffix.to_owned()));
        }
        if let Some(bad) = stem.chars().find(|letter| !is_allowed(*letter)) {
            return Err(NameError::BadCharacter(bad));
        }
        if text.starts_with('@') {
            return Err(NameError::StartsWithAt);
        }
        Ok(Self(text.into()))
    }

    /// The full name with suffix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the suffix: `ssh@2`.
    pub fn stem(&self) -> &str {
        self.0.rsplit_once('.').map_or(&*self.0, |(stem, _)| stem)
    }

    /// `service`
    pub fn suffix(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(_, suffix)| suffix)
    }

    /// By the suffix.
    pub fn kind(&self) -> UnitKind {
        // A valid name has a known suffix.
        UnitKind::from_suffix(self.suffix()).unwrap_or(UnitKind::Service)
    }

    /// Up to the first `@`, or the whole stem.
    pub fn prefix(&self) -> &str {
        let stem = self.stem();
        stem.split_once('@').map_or(stem, |(prefix, _)| prefix)
    }

    /// Between the first `@` and the suffix; `None` for templates and plain units.
    pub fn instance(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance).filter(|instance| !instance.is_empty())
    }

    /// Whether the instance is empty: `ssh@.service`.
    pub fn is_template(&self) -> bool {
        self.stem().split_once('@').is_some_and(|(_, instance)| instance.is_empty())
    }

    /// `ssh@.service` for `ssh@2.service`; `None` for a plain unit.
    pub fn template(&self) -> Option<Self> {
        self.stem().contains('@').then(|| Self(format!("{}@.{}", self.prefix(), self.suffix()).into()))
    }
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, ':' | '_' | '.' | '\\' | '@' | '-')
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for UnitName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The name for an argument of fleetctl: the part after the last slash, with `.service` appended unless it has the
/// suffix of a unit type that can run. The name is not validated.
pub fn unit_name_from_argument(argument: &str) -> String {
    let base = argument.rsplit('/').next().unwrap_or_default();
    let kind = base.rsplit_once('.').and_then(|(_, suffix)| UnitKind::from_suffix(suffix));
    if kind.is_some_and(UnitKind::runs) { base.to_owned() } else { format!("{base}.service") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let outcome = UnitName::parse(text).map_or_else(|error| error.to_string(), |_| "fine".into());
        assert_eq!(outcome, expected, "{text}");
    }

    #[test]
    fn allowed_names() {
        check("hello.service", "fine");
        check(r"a:b_c.d\x2d@1.service", "fine");
        check(&format!("{}.service", "a".repeat(NAME_BYTES - 8)), "fine");
        check("", "unit name cannot be empty");
        check(&format!("{}.service", "a".repeat(NAME_BYTES - 7)), "unit name exceeds maximum length (256)");
        check("hello", "unit name must contain \".\"");
        check("hello.", "unit name cannot end in \".\"");
        check("a.foo", "invalid unit type: \"foo\"");
        check("a.Service", "invalid unit type: \"Service\"");
        check("a@1.mount", "invalid unit type for template: \"mount\"");
        check("a b.service", "invalid character ' ' in unit name");
        check("a/b.service", "invalid character '/' in unit name");
        check("a\u{0}.service", "invalid character '\\0' in unit name");
        check("ä.service", "invalid character 'ä' in unit name");
        check("@.service", "unit name cannot start in \"@\"");
        check(".service", "fine");
    }

    fn check_parts(text: &str, prefix: &str, instance: Option<&str>, template: Option<&str>) {
        let name = UnitName::parse(text).unwrap();
        assert_eq!(name.prefix(), prefix, "{text}");
        assert_eq!(name.instance(), instance, "{text}");
        assert_eq!(name.template().as_ref().map(UnitName::as_str), template, "{text}");
        assert_eq!(name.is_template(), instance.is_none() && template.is_some(), "{text}");
    }

    #[test]
    fn parts() {
        check_parts("foo.service", "foo", None, None);
        check_parts("foo@.service", "foo", None, Some("foo@.service"));
        check_parts("foo@1.service", "foo", Some("1"), Some("foo@.service"));
        check_parts("foo@bar@baz.service", "foo", Some("bar@baz"), Some("foo@.service"));
        check_parts("foo@1.2.timer", "foo", Some("1.2"), Some("foo@.timer"));
    }

    #[test]
    fn arguments() {
        for (argument, name) in [
            ("hello", "hello.service"),
            ("./units/hello.service", "hello.service"),
            ("hello.service", "hello.service"),
            ("x.target", "x.target"),
            ("x.slice", "x.slice.service"),
            ("dir/", ".service"),
            ("a.b", "a.b.service"),
        ] {
            assert_eq!(unit_name_from_argument(argument), name, "{argument}");
        }
    }
}
