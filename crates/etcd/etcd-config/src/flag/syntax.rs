//! Go's flag syntax: `-x v`, `--x v`, `-x=v`, `--x=v`; switches take a value only with `=`.
//!
//! `command-line` has neither aliases nor flags with an optional value in either form.

use go_compat::split_flag;
use thiserror::Error;

use super::kind::{Flag, Status, Value, ValueKind};
use super::table;
use super::value::{self, ValueError};

/// A flag of the command line, with aliases resolved.
#[derive(Debug, Clone)]
pub struct ParsedFlag {
    pub flag: &'static Flag,
    pub text: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    #[error("{0}")]
    Bad(String),
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(&'static str),
    #[error("invalid value {text:?} for flag -{name}: {reason}")]
    Value { name: &'static str, text: String, reason: ValueError },
    #[error("invalid boolean value {text:?} for -{name}: {reason}")]
    Switch { name: &'static str, text: String, reason: ValueError },
}

/// Returns the flags in order, and the first non-flag argument, at which parsing stops.
pub fn parse(arguments: &[String]) -> Result<(Vec<ParsedFlag>, Option<String>), SyntaxError> {
    let mut flags = Vec::new();
    let mut rest = arguments;
    while let [argument, after @ ..] = rest {
        if argument == "--" {
            return Ok((flags, after.first().cloned()));
        }
        let Some((name, written)) = split_flag(argument).map_err(SyntaxError::Bad)? else {
            return Ok((flags, Some(argument.clone())));
        };
        let (flag, consumed) = parse_flag(name, written, after)?;
        flags.push(flag);
        rest = after.get(consumed..).unwrap_or_default();
    }
    Ok((flags, None))
}

/// `written` is the value after `=`. Returns how many of the following arguments the flag consumed.
fn parse_flag(
    name: &str,
    written: Option<&str>,
    after: &[String],
) -> Result<(ParsedFlag, usize), SyntaxError> {
    let flag = table::find(name).ok_or_else(|| SyntaxError::Unknown(name.to_owned()))?;
    let (text, consumed) = match (written, flag.kind) {
        (Some(text), _) => (text.to_owned(), 0),
        (None, ValueKind::Switch | ValueKind::IgnoredSwitch) => ("true".to_owned(), 0),
        // Flags of 0.4 and 3.x: with or without a value.
        (None, ValueKind::Ignored) => match after.first().filter(|next| !next.starts_with('-')) {
            Some(next) => (next.clone(), 1),
            None => (String::new(), 0),
        },
        (None, _) => match after.first() {
            Some(next) => (next.clone(), 1),
            None => return Err(SyntaxError::NoValue(flag.name)),
        },
    };
    let value = value::parse(flag.kind, &text).map_err(|reason| match flag.kind {
        ValueKind::Switch => SyntaxError::Switch { name: flag.name, text: text.clone(), reason },
        _ => SyntaxError::Value { name: flag.name, text: text.clone(), reason },
    })?;
    Ok((ParsedFlag { flag: canonical(flag), text, value }, consumed))
}

/// The flag that an alias refers to; otherwise the flag itself.
pub fn canonical(flag: &'static Flag) -> &'static Flag {
    match flag.status {
        Status::Alias(of) => table::find(of).unwrap_or(flag),
        _ => flag,
    }
}

/// A suggestion for an unknown flag: one with this prefix, or one that differs only in `_`, `-` or case.
pub fn nearest(name: &str) -> Option<&'static str> {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    let flags = || table::FLAGS.iter().filter(|flag| flag.name.len() > 2).map(|flag| flag.name);
    flags().find(|known| *known == plain).or_else(|| {
        let singular = plain.trim_end_matches('s');
        flags().find(|known| singular.len() > 3 && known.starts_with(singular))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flags with their texts, and the argument at which parsing stopped.
    type Parsed<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);

    fn check(words: &[&str], expected: Result<Parsed<'_>, &str>) {
        let words: Vec<_> = words.iter().map(|argument| (*argument).to_owned()).collect();
        let got = parse(&words).map_err(|error| error.to_string());
        let got = got.as_ref().map(|(flags, argument)| {
            let flags: Vec<_> = flags.iter().map(|flag| (flag.flag.name, flag.text.as_str())).collect();
            (flags, argument.as_deref())
        });
        let expected = expected.map(|(flags, argument)| (flags.to_vec(), argument));
        assert_eq!(got.map_err(String::as_str), expected, "{words:?}");
    }

    #[test]
    fn go_syntax() {
        check(&["-name", "a", "--name", "b"], Ok((&[("name", "a"), ("name", "b")], None)));
        check(&["-name=a", "--name=b=c"], Ok((&[("name", "a"), ("name", "b=c")], None)));
        check(&["-debug", "false"], Ok((&[("debug", "true")], Some("false"))));
        check(&["-debug=false"], Ok((&[("debug", "false")], None)));
        check(&["-name", "-debug"], Ok((&[("name", "-debug")], None)));
        check(&["-debug", "--", "x"], Ok((&[("debug", "true")], Some("x"))));
        check(&["-"], Ok((&[], Some("-"))));
        check(&["-name="], Ok((&[("name", "")], None)));
        check(&["-n", "a", "-C=b:1"], Ok((&[("name", "a"), ("peers", "b:1")], None)));
        check(
            &["-cluster-active-size", "9", "-retry-interval=3", "-trace", "-debug"],
            Ok((
                &[("cluster-active-size", "9"), ("retry-interval", "3"), ("trace", ""), ("debug", "true")],
                None,
            )),
        );
        check(&["-name"], Err("flag needs an argument: -name"));
        check(&["---x"], Err("bad flag syntax: ---x"));
        check(&["-=x"], Err("bad flag syntax: -=x"));
        check(&["-bogus=1"], Err("flag provided but not defined: -bogus"));
        check(&["-debug=maybe"], Err("invalid boolean value \"maybe\" for -debug: parse error"));
        check(
            &["-initial-cluster-state", "maybe"],
            Err("invalid value \"maybe\" for flag -initial-cluster-state: invalid value"),
        );
        check(
            &["-listen-client-urls", "x"],
            Err(
                "invalid value \"x\" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: x",
            ),
        );
    }

    #[test]
    fn flags_are_unique_and_aliases_resolve() {
        for (at, flag) in table::FLAGS.iter().enumerate() {
            assert!(table::FLAGS[at + 1..].iter().all(|other| other.name != flag.name), "{}", flag.name);
            if let Status::Alias(of) = flag.status {
                assert!(table::find(of).is_some_and(|target| target.kind == flag.kind), "{}", flag.name);
            }
            if flag.group != crate::flag::Group::Etcd04 && flag.name.len() > 1 {
                assert!(!flag.help.is_empty(), "{} has no help", flag.name);
            }
        }
    }

    #[test]
    fn defaults_are_valid() {
        for flag in table::FLAGS.iter().filter(|flag| !flag.default.is_empty()) {
            value::parse(flag.kind, flag.default).unwrap_or_else(|error| panic!("{}: {error}", flag.name));
        }
    }
}
