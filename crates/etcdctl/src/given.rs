//! The words of the command line as flags and arguments, by the rules of Go's `flag` package and of the
//! library that etcdctl was written with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration;
use crate::flag::{Flag, HELP, Takes};

/// Flags that were given, with all values of each; and the arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    pub arguments: Vec<String>,
}

/// What is wrong with a flag, in Go's words.
#[derive(Debug, PartialEq, Eq)]
pub struct BadFlag(pub String);

impl Given {
    pub fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value == "true")
    }

    /// The last value of a flag.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).last().map(String::as_str)
    }

    /// The values of a flag that may be repeated.
    pub fn texts(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// Numbers were checked when they were read.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// Durations were checked when they were read.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(duration::parse)
    }

    pub fn wants_help(&self) -> bool {
        self.is_set(HELP.name())
    }

    pub fn argument(&self, at: usize) -> Option<&str> {
        self.arguments.get(at).map(String::as_str)
    }
}

/// Flags up to the first word that is none, or up to `--`; the rest are arguments.
pub fn before_arguments(flags: &[Flag], words: &[String]) -> Result<Given, BadFlag> {
    let mut given = Given::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            rest = after;
            break;
        }
        if !is_flag(word) {
            break;
        }
        rest = given.take(flags, word, after)?;
    }
    given.arguments = rest.to_vec();
    Ok(given)
}

/// Flags before or after the arguments. `--` before all arguments is left out and ends the flags; behind an
/// argument it is an argument itself, and ends the flags too. When a flag comes first, a word behind the
/// arguments that looks like a flag but is none is an argument, so that `set --ttl 5 /key -1` works.
pub fn around_arguments(flags: &[Flag], words: &[String]) -> Result<Given, BadFlag> {
    let flag_first = words.first().is_some_and(|word| is_flag(word));
    let mut given = Given::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            let from = if given.arguments.is_empty() { after } else { rest };
            given.arguments.extend_from_slice(from);
            break;
        }
        let may_be_argument = flag_first && !given.arguments.is_empty();
        if is_flag(word) && (!may_be_argument || is_known(flags, word)) {
            rest = given.take(flags, word, after)?;
        } else {
            given.arguments.push(word.clone());
            rest = after;
        }
    }
    Ok(given)
}

fn is_known(flags: &[Flag], word: &str) -> bool {
    let name = word.trim_start_matches('-').split('=').next().unwrap_or_default();
    flags.iter().any(|flag| flag.is_called(name))
}

fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

impl Given {
    /// Reads the flag `word`, with its value from `after` where it needs one; gives what is left.
    fn take<'a>(&mut self, flags: &[Flag], word: &str, after: &'a [String]) -> Result<&'a [String], BadFlag> {
        let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(BadFlag(format!("bad flag syntax: {word}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let flag = flags
            .iter()
            .chain([&HELP])
            .find(|flag| flag.is_called(name))
            .ok_or_else(|| BadFlag(format!("flag provided but not defined: -{name}")))?;
        let (value, after) = match (value, flag.takes, after.split_first()) {
            (Some(value), _, _) => (value, after),
            (None, Takes::Nothing, _) => ("true".to_owned(), after),
            (None, _, Some((value, after))) => (value.clone(), after),
            (None, _, None) => return Err(BadFlag(format!("flag needs an argument: -{name}"))),
        };
        let value = checked(flag, name, value)?;
        self.values.entry(flag.name()).or_default().push(value);
        Ok(after)
    }
}

/// The value as it is kept: switches as `true` and `false`, numbers as decimals.
fn checked(flag: &Flag, name: &str, value: String) -> Result<String, BadFlag> {
    let kept = match flag.takes {
        Takes::Nothing => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some("false".to_owned()),
            _ => return Err(BadFlag(format!("invalid boolean value {value:?} for -{name}: parse error"))),
        },
        Takes::Number => value.parse::<u64>().ok().map(|number| number.to_string()),
        Takes::Duration => duration::parse(&value).map(|_| value.clone()),
        // An unknown word is the command's to refuse: some do so only after their work.
        Takes::Text | Takes::File | Takes::Directory | Takes::OneOf(_) => Some(value.clone()),
    };
    kept.ok_or_else(|| BadFlag(format!("invalid value {value:?} for flag -{name}: parse error")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new("ttl", Takes::Number, ""),
        Flag::new("output,o", Takes::Text, ""),
        Flag::switch("recursive,r", ""),
    ];

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn check(text: &str, expect: &str) {
        let got = match around_arguments(FLAGS, &words(text)) {
            Ok(given) => {
                let values: Vec<_> =
                    given.values.iter().map(|(name, all)| format!("{name}={}", all.join("+"))).collect();
                format!("{} | {}", values.join(" "), given.arguments.join(" "))
            }
            Err(BadFlag(text)) => text,
        };
        assert_eq!(got.trim(), expect, "{text}");
    }

    #[test]
    fn flags_and_arguments() {
        check("/foo bar", "| /foo bar");
        check("/foo bar --ttl 20", "ttl=20 | /foo bar");
        check("-ttl=20 /foo bar", "ttl=20 | /foo bar");
        check("/foo --ttl 20 bar", "ttl=20 | /foo bar");
        check("/dir -r", "recursive=true | /dir");
        check("/dir --recursive=false", "recursive=false | /dir");
        check("-- /dash -v", "| /dash -v");
        check("/num -- -5", "| /num -- -5");
        check("--ttl 5 -- /dash -v", "ttl=5 | /dash -v");
        check("--ttl 5 /num -5", "ttl=5 | /num -5");
        check("-r /queue job --ttl 5", "recursive=true ttl=5 | /queue job");
        check("-r /k -h", "recursive=true | /k -h");
        check("/k -", "| /k -");
        check("/key --recursive -- sh -c env", "recursive=true | /key -- sh -c env");
        check("--ttl 1 --ttl 2 /k", "ttl=1+2 | /k");
    }

    #[test]
    fn what_is_refused() {
        check("/num -5", "flag provided but not defined: -5");
        check("/k --ttl abc", "invalid value \"abc\" for flag -ttl: parse error");
        check("/k --ttl -1", "invalid value \"-1\" for flag -ttl: parse error");
        check("/k --ttl", "flag needs an argument: -ttl");
        check("/k -r=maybe", "invalid boolean value \"maybe\" for -r: parse error");
        check("/k ---ttl", "bad flag syntax: ---ttl");
        check("--=x", "bad flag syntax: --=x");
    }

    #[test]
    fn global_flags_end_at_the_command() {
        let given = before_arguments(FLAGS, &words("-o json set --ttl 5")).unwrap();
        assert_eq!(given.text("output"), Some("json"));
        let twice = before_arguments(FLAGS, &words("--ttl 1 --ttl 2")).unwrap();
        assert_eq!(twice.number("ttl"), Some(2));
        assert_eq!(given.arguments, words("set --ttl 5"));
    }
}
