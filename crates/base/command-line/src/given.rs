//! The words of the command line as flags and arguments, by the rules of Go's `flag` package and of the
//! libraries that the programs were written with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::duration;
use crate::flag::{Flag, HELP, Takes};

/// What the words say: flags that were given, with all values of each; and the arguments.
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

    /// Numbers were checked when they were read.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// Of a flag that takes [`Takes::Seconds`].
    pub fn seconds(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(seconds_of)
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

/// Flags before, between and after the arguments; `--` is left out and ends them.
pub fn anywhere(flags: &[Flag], words: &[String]) -> Result<Given, BadFlag> {
    let mut given = Given::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            given.arguments.extend_from_slice(after);
            break;
        }
        if is_flag(word) {
            rest = given.take(flags, word, after)?;
        } else {
            given.arguments.push(word.clone());
            rest = after;
        }
    }
    Ok(given)
}

/// Where the first word stands that is neither a flag nor a flag's value.
pub fn first_argument(flags: &[Flag], words: &[String]) -> Result<Option<usize>, BadFlag> {
    let mut skipped = Given::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            return Ok((!after.is_empty()).then(|| words.len() - after.len()));
        }
        if !is_flag(word) {
            return Ok(Some(words.len() - rest.len()));
        }
        rest = skipped.take(flags, word, after)?;
    }
    Ok(None)
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
            (None, Takes::Nothing | Takes::PerhapsNumber, _) => ("true".to_owned(), after),
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
        Takes::Integer => value.parse::<i64>().ok().map(|number| number.to_string()),
        Takes::Seconds => seconds_of(&value).map(|_| value.clone()),
        Takes::PerhapsNumber => (value == "true" || value.parse::<u64>().is_ok()).then(|| value.clone()),
        Takes::Duration => duration::parse(&value).map(|_| value.clone()),
        // An unknown word is the command's to refuse: some do so only after their work.
        Takes::Text | Takes::File | Takes::Directory | Takes::OneOf(_) => Some(value.clone()),
    };
    kept.ok_or_else(|| BadFlag(format!("invalid value {value:?} for flag -{name}: parse error")))
}

/// Ten years are enough for any limit.
const LONGEST_SECONDS: f64 = 10.0 * 365.0 * 86_400.0;

fn seconds_of(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=LONGEST_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
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
    fn flags_anywhere() {
        let cases = [
            ("a -r b --ttl 5 c", "recursive=true ttl=5 | a b c"),
            ("a -- -r b", "| a -r b"),
            ("--r=false -output=x a", "output=x recursive=false | a"),
        ];
        for (text, expect) in cases {
            let given = anywhere(FLAGS, &words(text)).unwrap();
            let values: Vec<_> =
                given.values.iter().map(|(name, all)| format!("{name}={}", all.join("+"))).collect();
            let got = format!("{} | {}", values.join(" "), given.arguments.join(" "));
            assert_eq!(got.trim(), expect, "{text}");
        }
        assert!(anywhere(FLAGS, &words("a --bogus")).is_err());
    }

    #[test]
    fn numbers_of_other_kinds() {
        const OTHERS: &[Flag] = &[
            Flag::new("attempts", Takes::Integer, ""),
            Flag::new("timeout", Takes::Seconds, ""),
            Flag::new("active", Takes::PerhapsNumber, ""),
        ];
        let given = anywhere(OTHERS, &words("--attempts -3 --timeout 0.5 --active=9 x")).unwrap();
        assert_eq!(given.integer("attempts"), Some(-3));
        assert_eq!(given.seconds("timeout"), Some(Duration::from_millis(500)));
        assert_eq!(given.number("active"), Some(9));
        assert!(anywhere(OTHERS, &words("--active 9")).unwrap().is_set("active"));
        for bad in ["--attempts x", "--timeout -1", "--timeout inf", "--timeout NaN", "--active=soon"] {
            assert!(anywhere(OTHERS, &words(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_argument() {
        let cases = [
            ("set x", Some(0)),
            ("-o json set x", Some(2)),
            ("-o=json -r set", Some(2)),
            ("-- set", Some(1)),
            ("--", None),
            ("-r", None),
        ];
        for (text, expect) in cases {
            assert_eq!(first_argument(FLAGS, &words(text)), Ok(expect), "{text}");
        }
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
