//! Go's flag syntax: `-x v`, `--x v`, `-x=v`, `--x=v`; switches take a value only with `=`.
//!
//! Knows the table, not what flags mean. No common flag library reads this syntax.

use thiserror::Error;

use super::kind::{Flag, Kind, Standing, Value};
use super::table;
use super::value::{self, ValueError};

/// One flag as it stood on the command line; aliases are already what they stand for.
#[derive(Debug, Clone)]
pub struct Seen {
    pub flag: &'static Flag,
    pub text: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    #[error("bad flag syntax: {0}")]
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

/// Flags in their order, and the first word that is none (where reading stopped).
pub fn parse(arguments: &[String]) -> Result<(Vec<Seen>, Option<String>), SyntaxError> {
    let mut seen = Vec::new();
    let mut rest = arguments;
    while let [word, after @ ..] = rest {
        if word == "--" {
            return Ok((seen, after.first().cloned()));
        }
        let Some(body) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            return Ok((seen, Some(word.clone())));
        };
        if body.is_empty() {
            return Ok((seen, Some(word.clone())));
        }
        if body.starts_with(['-', '=']) {
            return Err(SyntaxError::Bad(word.clone()));
        }
        let (one, consumed) = read_one(body, after)?;
        seen.push(one);
        rest = after.get(consumed..).unwrap_or_default();
    }
    Ok((seen, None))
}

/// Reads `name` or `name=value`; says how many of the following words it used.
fn read_one(body: &str, after: &[String]) -> Result<(Seen, usize), SyntaxError> {
    let (name, written) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let flag = table::find(name).ok_or_else(|| SyntaxError::Unknown(name.to_owned()))?;
    let (text, consumed) = match (written, flag.kind) {
        (Some(text), _) => (text.to_owned(), 0),
        (None, Kind::Switch | Kind::IgnoredSwitch) => ("true".to_owned(), 0),
        // Both generations' forms: a value of its own, or none.
        (None, Kind::Ignored) => match after.first().filter(|next| !next.starts_with('-')) {
            Some(next) => (next.clone(), 1),
            None => (String::new(), 0),
        },
        (None, _) => match after.first() {
            Some(next) => (next.clone(), 1),
            None => return Err(SyntaxError::NoValue(flag.name)),
        },
    };
    let value = value::parse(flag.kind, &text).map_err(|reason| match flag.kind {
        Kind::Switch => SyntaxError::Switch { name: flag.name, text: text.clone(), reason },
        _ => SyntaxError::Value { name: flag.name, text: text.clone(), reason },
    })?;
    Ok((Seen { flag: canonical(flag), text, value }, consumed))
}

/// What an alias stands for; all others stand for themselves.
pub fn canonical(flag: &'static Flag) -> &'static Flag {
    match flag.standing {
        Standing::Alias(of) => table::find(of).unwrap_or(flag),
        _ => flag,
    }
}

/// The flag that was perhaps meant: one that begins so, or that differs in `_` and `-` or case alone.
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

    /// Flags with their texts, and the word that reading stopped at.
    type Read<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);

    fn check(words: &[&str], expected: Result<Read<'_>, &str>) {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let got = parse(&words).map_err(|error| error.to_string());
        let got = got.as_ref().map(|(seen, word)| {
            let seen: Vec<_> = seen.iter().map(|one| (one.flag.name, one.text.as_str())).collect();
            (seen, word.as_deref())
        });
        let expected = expected.map(|(seen, word)| (seen.to_vec(), word));
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
    fn the_table_names_each_flag_once_and_aliases_lead_somewhere() {
        for (at, flag) in table::FLAGS.iter().enumerate() {
            assert!(table::FLAGS[at + 1..].iter().all(|other| other.name != flag.name), "{}", flag.name);
            if let Standing::Alias(of) = flag.standing {
                assert!(table::find(of).is_some_and(|target| target.kind == flag.kind), "{}", flag.name);
            }
            if flag.group != crate::flag::Group::Classic && flag.name.len() > 1 {
                assert!(!flag.help.is_empty(), "{} has no help", flag.name);
            }
        }
    }

    #[test]
    fn the_default_of_every_flag_is_a_value_it_takes() {
        for flag in table::FLAGS.iter().filter(|flag| !flag.default.is_empty()) {
            value::parse(flag.kind, flag.default).unwrap_or_else(|error| panic!("{}: {error}", flag.name));
        }
    }
}
