//! Syntax of the configuration file: lines of `key=value`, with optional quotes; comments start with `#` or `;`.

use thiserror::Error;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Starts at 1.
    pub line: usize,
    pub key: &'a str,
    /// Without quotes.
    pub value: &'a str,
}

/// Entries of a file, and the line of the first section header. As in the original, everything after it is ignored.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ParsedFile<'a> {
    pub entries: Vec<Entry<'a>>,
    pub section: Option<usize>,
}

/// Never includes the line, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("expected `key=value`")]
    NoAssignment,
    #[error("expected a key before `=`")]
    NoKey,
    #[error("the value begins with a quote and does not end with it")]
    OpenQuote,
}

/// Parses a file. Fails with the number of the first invalid line.
pub fn parse(text: &str) -> Result<ParsedFile<'_>, (usize, Problem)> {
    let mut file = ParsedFile::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            file.section = Some(number);
            break;
        }
        let (key, value) = line.split_once('=').ok_or((number, Problem::NoAssignment))?;
        let key = key.trim_end();
        if key.is_empty() {
            return Err((number, Problem::NoKey));
        }
        let value = unquoted(value.trim_start()).map_err(|problem| (number, problem))?;
        file.entries.push(Entry { line: number, key, value });
    }
    Ok(file)
}

fn unquoted(value: &str) -> Result<&str, Problem> {
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return Ok(value);
    };
    value[1..].strip_suffix(quote).ok_or(Problem::OpenQuote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(usize, &str, &str)]) {
        let file = parse(text).unwrap();
        let got: Vec<_> = file.entries.iter().map(|entry| (entry.line, entry.key, entry.value)).collect();
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn syntax() {
        check("", &[]);
        check("# a\n  ; b\n\n a = b c \r\nd=\n", &[(4, "a", "b c"), (5, "d", "")]);
        check("a=\"b\"\nc='d'\ne=\"\"", &[(1, "a", "b"), (2, "c", "d"), (3, "e", "")]);
        check("a=b=c # d", &[(1, "a", "b=c # d")]);
        check("a=\"x\",\"y\"", &[(1, "a", "x\",\"y")]);
        check("\u{feff}a=[\"x\", \"y\"]", &[(1, "a", "[\"x\", \"y\"]")]);
        check("a=1\n[s]\nb=2\nnonsense", &[(1, "a", "1")]);
    }

    #[test]
    fn syntax_errors() {
        assert_eq!(parse("\na"), Err((2, Problem::NoAssignment)));
        assert_eq!(parse("= a"), Err((1, Problem::NoKey)));
        for open in ["a=\"", "a='b\"", "a=\"b' # c"] {
            assert_eq!(parse(open), Err((1, Problem::OpenQuote)), "{open}");
        }
        assert_eq!(parse("a=1\n[s]").unwrap().section, Some(2));
    }
}
