//! Parses arguments by the rules of Go's `flag` package and of the libraries that the original programs used.

use std::collections::BTreeMap;
use std::time::Duration;

use go_compat::{parse_bool, parse_duration, split_flag};

use crate::flag::{Flag, HELP, ValueKind};

/// The flags that were set, with all their values, and the positional arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ParsedArgs {
    values: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// In order, with everything after `--`.
    pub arguments: Vec<String>,
}

/// An invalid flag, with Go's message.
#[derive(Debug, PartialEq, Eq)]
pub struct BadFlag(pub String);

impl ParsedArgs {
    /// For switches: set, and not to `false`.
    pub fn is_set(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value == "true")
    }

    /// The last value of a flag.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name).last().map(String::as_str)
    }

    /// All values of a repeatable flag.
    pub fn texts(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The default in the flag's description, `false` for a switch without one; `""` for none.
    pub fn default_value(&self, name: &str) -> &'static str {
        self.defaults.get(name).copied().unwrap_or_default()
    }

    /// Sets the value for the case that the command line has none.
    pub fn set_default(&mut self, name: &'static str, value: &'static str) {
        self.defaults.insert(name, value);
    }

    /// The last value, else the default.
    pub fn text_or_default(&self, name: &str) -> &str {
        self.text(name).unwrap_or(self.default_value(name))
    }

    /// Numbers are validated when they are parsed.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// Zero if there is no default either.
    pub fn number_or_default(&self, name: &str) -> u64 {
        self.text_or_default(name).parse().unwrap_or_default()
    }

    /// The last value; `None` if the flag was not set.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|value| value.parse().ok())
    }

    /// Zero if there is no default either.
    pub fn duration_or_default(&self, name: &str) -> Duration {
        parse_duration(self.text_or_default(name)).unwrap_or_default()
    }

    /// Whether `--help` or `-h` was given.
    pub fn wants_help(&self) -> bool {
        self.is_set(HELP.name())
    }

    /// `None` if there are fewer.
    pub fn argument(&self, at: usize) -> Option<&str> {
        self.arguments.get(at).map(String::as_str)
    }
}

/// Parses flags up to the first argument that is none, or up to `--`; the rest are positional arguments.
pub fn before_arguments(flags: &[Flag], arguments: &[String]) -> Result<ParsedArgs, BadFlag> {
    leading_flags(flags, arguments, false)
}

/// Parses flags as Go's `flag` does by itself: like [`before_arguments`], but `-h` and `-help`, with any value, end
/// the parsing, so that errors after them are not reported.
pub fn before_arguments_or_help(flags: &[Flag], arguments: &[String]) -> Result<ParsedArgs, BadFlag> {
    leading_flags(flags, arguments, true)
}

fn leading_flags(flags: &[Flag], arguments: &[String], ends_at_help: bool) -> Result<ParsedArgs, BadFlag> {
    let mut parsed = ParsedArgs::new(flags)?;
    let mut rest = arguments;
    while let Some((argument, after)) = rest.split_first() {
        if argument == "--" {
            rest = after;
            break;
        }
        let Some((name, _)) = split_flag(argument).map_err(BadFlag)? else { break };
        if ends_at_help && HELP.is_called(name) {
            parsed.values.insert(HELP.name(), vec!["true".to_owned()]);
            return Ok(parsed);
        }
        rest = parsed.read_flag(flags, argument, after)?;
    }
    parsed.arguments = rest.to_vec();
    Ok(parsed)
}

/// Parses flags before and after the positional arguments. A `--` before them is dropped and ends the flags; after
/// one, `--` is a positional argument itself and ends the flags too. If a flag comes first, an unknown flag after a
/// positional argument is positional, so that `set --ttl 5 /key -1` works.
pub fn around_arguments(flags: &[Flag], arguments: &[String]) -> Result<ParsedArgs, BadFlag> {
    let flag_first = arguments.first().is_some_and(|argument| is_flag(argument));
    let mut parsed = ParsedArgs::new(flags)?;
    let mut rest = arguments;
    while let Some((argument, after)) = rest.split_first() {
        if argument == "--" {
            let from = if parsed.arguments.is_empty() { after } else { rest };
            parsed.arguments.extend_from_slice(from);
            break;
        }
        let may_be_argument = flag_first && !parsed.arguments.is_empty();
        if is_flag(argument) && (!may_be_argument || is_known(flags, argument)) {
            rest = parsed.read_flag(flags, argument, after)?;
        } else {
            parsed.arguments.push(argument.clone());
            rest = after;
        }
    }
    Ok(parsed)
}

/// Parses flags before, between and after the positional arguments; `--` is dropped and ends the flags.
pub fn anywhere(flags: &[Flag], arguments: &[String]) -> Result<ParsedArgs, BadFlag> {
    let mut parsed = ParsedArgs::new(flags)?;
    let mut rest = arguments;
    while let Some((argument, after)) = rest.split_first() {
        if argument == "--" {
            parsed.arguments.extend_from_slice(after);
            break;
        }
        if is_flag(argument) {
            rest = parsed.read_flag(flags, argument, after)?;
        } else {
            parsed.arguments.push(argument.clone());
            rest = after;
        }
    }
    Ok(parsed)
}

/// Index of the first argument that is neither a flag nor a flag's value.
pub fn first_argument(flags: &[Flag], arguments: &[String]) -> Result<Option<usize>, BadFlag> {
    let mut parsed = ParsedArgs::new(flags)?;
    let mut rest = arguments;
    while let Some((argument, after)) = rest.split_first() {
        if argument == "--" {
            return Ok((!after.is_empty()).then(|| arguments.len() - after.len()));
        }
        if !is_flag(argument) {
            return Ok(Some(arguments.len() - rest.len()));
        }
        rest = parsed.read_flag(flags, argument, after)?;
    }
    Ok(None)
}

fn is_known(flags: &[Flag], argument: &str) -> bool {
    let name = argument.trim_start_matches('-').split('=').next().unwrap_or_default();
    flags.iter().any(|flag| flag.is_called(name))
}

fn is_flag(argument: &str) -> bool {
    argument.len() > 1 && argument.starts_with('-')
}

impl ParsedArgs {
    /// An invalid default is an error, as an invalid value is.
    fn new(flags: &[Flag]) -> Result<ParsedArgs, BadFlag> {
        let mut parsed = ParsedArgs::default();
        for flag in flags.iter().filter(|flag| !flag.default_value().is_empty()) {
            normalize(flag, flag.name(), flag.default_value().to_owned())?;
            parsed.defaults.insert(flag.name(), flag.default_value());
        }
        Ok(parsed)
    }

    /// Parses one flag, and its value from `after` if it needs one; returns the remaining arguments.
    fn read_flag<'a>(
        &mut self,
        flags: &[Flag],
        argument: &str,
        after: &'a [String],
    ) -> Result<&'a [String], BadFlag> {
        let (name, value) = split_flag(argument).map_err(BadFlag)?.unwrap_or((argument, None));
        let flag = flags
            .iter()
            .chain([&HELP])
            .find(|flag| flag.is_called(name))
            .ok_or_else(|| BadFlag(format!("flag provided but not defined: -{name}")))?;
        let (value, after) = match (value, flag.value_kind, after.split_first()) {
            (Some(value), _, _) => (value.to_owned(), after),
            (None, ValueKind::Switch | ValueKind::OptionalNumber, _) => ("true".to_owned(), after),
            (None, _, Some((value, after))) => (value.clone(), after),
            (None, _, None) => return Err(BadFlag(format!("flag needs an argument: -{name}"))),
        };
        let value = normalize(flag, name, value)?;
        self.values.entry(flag.name()).or_default().push(value);
        Ok(after)
    }
}

/// The value as it is stored: switches as `true` or `false`, numbers as decimals.
fn normalize(flag: &Flag, name: &str, value: String) -> Result<String, BadFlag> {
    let normalized = match flag.value_kind {
        ValueKind::Switch => match parse_bool(&value) {
            Some(on) => Some(on.to_string()),
            None => return Err(BadFlag(format!("invalid boolean value {value:?} for -{name}: parse error"))),
        },
        ValueKind::Number => value.parse::<u64>().ok().map(|number| number.to_string()),
        ValueKind::Integer => value.parse::<i64>().ok().map(|number| number.to_string()),
        ValueKind::Seconds => parse_seconds(&value).map(|_| value.clone()),
        ValueKind::OptionalNumber => (value == "true" || value.parse::<u64>().is_ok()).then(|| value.clone()),
        ValueKind::Duration => parse_duration(&value).map(|_| value.clone()),
        // Values of `OneOf` are validated by the command: some do so only after their work.
        ValueKind::Text | ValueKind::File | ValueKind::Directory | ValueKind::OneOf(_) => Some(value.clone()),
    };
    normalized.ok_or_else(|| BadFlag(format!("invalid value {value:?} for flag -{name}: parse error")))
}

/// Ten years exceed any reasonable limit.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

/// Seconds, optionally with a fraction: `3`, `0.5`.
pub fn parse_seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=SECONDS_MAX).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new("ttl", ValueKind::Number, ""),
        Flag::new("output,o", ValueKind::Text, ""),
        Flag::switch("recursive,r", ""),
    ];

    fn arguments(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn check(text: &str, expect: &str) {
        let got = match around_arguments(FLAGS, &arguments(text)) {
            Ok(parsed) => {
                let values: Vec<_> =
                    parsed.values.iter().map(|(name, all)| format!("{name}={}", all.join("+"))).collect();
                format!("{} | {}", values.join(" "), parsed.arguments.join(" "))
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
    fn invalid_flags_are_rejected() {
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
            let parsed = anywhere(FLAGS, &arguments(text)).unwrap();
            let values: Vec<_> =
                parsed.values.iter().map(|(name, all)| format!("{name}={}", all.join("+"))).collect();
            let got = format!("{} | {}", values.join(" "), parsed.arguments.join(" "));
            assert_eq!(got.trim(), expect, "{text}");
        }
        assert!(anywhere(FLAGS, &arguments("a --bogus")).is_err());
    }

    #[test]
    fn integers_seconds_and_optional_numbers() {
        const OTHERS: &[Flag] = &[
            Flag::new("attempts", ValueKind::Integer, ""),
            Flag::new("timeout", ValueKind::Seconds, ""),
            Flag::new("active", ValueKind::OptionalNumber, ""),
        ];
        let parsed = anywhere(OTHERS, &arguments("--attempts -3 --timeout 0.5 --active=9 x")).unwrap();
        assert_eq!(parsed.integer("attempts"), Some(-3));
        assert_eq!(parsed.text("timeout").and_then(parse_seconds), Some(Duration::from_millis(500)));
        assert_eq!(parsed.number("active"), Some(9));
        assert_eq!(parsed.text_or_default("active"), "9");
        assert!(anywhere(OTHERS, &arguments("--active 9")).unwrap().is_set("active"));
        for bad in ["--attempts x", "--timeout -1", "--timeout inf", "--timeout NaN", "--active=soon"] {
            assert!(anywhere(OTHERS, &arguments(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn help_may_end_the_flags() {
        let check = |text: &str, expect: Result<bool, &str>| {
            let parsed = before_arguments_or_help(FLAGS, &arguments(text));
            let got = parsed.map(|parsed| parsed.wants_help()).map_err(|BadFlag(text)| text);
            assert_eq!(got.as_ref().map_err(String::as_str).copied(), expect, "{text}");
        };
        for help in ["-h", "--help", "-h=false", "-help=x", "-r -h -nope", "-h ---"] {
            check(help, Ok(true));
        }
        for none in ["", "-r", "x -h", "-- -h", "-output -h"] {
            check(none, Ok(false));
        }
        check("-nope -h", Err("flag provided but not defined: -nope"));
        assert!(before_arguments(FLAGS, &arguments("-h -nope")).is_err());
    }

    #[test]
    fn defaults() {
        const DEFAULTS: &[Flag] = &[
            Flag::new("name", ValueKind::Text, "").default("core"),
            Flag::new("lines", ValueKind::Number, "").default("10"),
            Flag::new("wait", ValueKind::Duration, "").default("5s"),
        ];
        let check = |text: &str, name: &str, lines: u64, seconds: f64| {
            let parsed = anywhere(DEFAULTS, &arguments(text)).unwrap();
            assert_eq!(parsed.text_or_default("name"), name, "{text}");
            assert_eq!(parsed.number_or_default("lines"), lines, "{text}");
            assert_eq!(parsed.duration_or_default("wait"), Duration::from_secs_f64(seconds), "{text}");
        };
        check("", "core", 10, 5.0);
        check("--name= --lines=3 --wait=+1.5s", "", 3, 1.5);
        let invalid = [Flag::new("wait", ValueKind::Duration, "").default("5")];
        assert_eq!(
            anywhere(&invalid, &[]),
            Err(BadFlag("invalid value \"5\" for flag -wait: parse error".into()))
        );
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
            assert_eq!(first_argument(FLAGS, &arguments(text)), Ok(expect), "{text}");
        }
    }

    #[test]
    fn global_flags_end_at_the_command() {
        let parsed = before_arguments(FLAGS, &arguments("-o json set --ttl 5")).unwrap();
        assert_eq!(parsed.text("output"), Some("json"));
        let twice = before_arguments(FLAGS, &arguments("--ttl 1 --ttl 2")).unwrap();
        assert_eq!(twice.number("ttl"), Some(2));
        assert_eq!(parsed.arguments, arguments("set --ttl 5"));
    }
}
