//! The file's form: `key=value` lines without sections, `#` and `;` before comments, values bare or in quotes.

use thiserror::Error;

/// One setting, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// From 1.
    pub line: usize,
    pub key: &'a str,
    /// Without the quotes around it.
    pub value: &'a str,
}

/// What a file says: settings, and the first section, if it has one. The original passes over all from there on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read<'a> {
    pub entries: Vec<Entry<'a>>,
    pub section: Option<usize>,
}

/// Never with the line's text: it may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("expected `key=value`")]
    NoAssignment,
    #[error("expected a key before `=`")]
    NoKey,
    #[error("the value begins with a quote and does not end with it")]
    OpenQuote,
}

/// The settings in their order, or the first line that is none, with its number.
pub fn read(text: &str) -> Result<Read<'_>, (usize, Problem)> {
    let mut read = Read::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            read.section = Some(number);
            break;
        }
        let (key, value) = line.split_once('=').ok_or((number, Problem::NoAssignment))?;
        let key = key.trim_end();
        if key.is_empty() {
            return Err((number, Problem::NoKey));
        }
        let value = unquoted(value.trim_start()).map_err(|problem| (number, problem))?;
        read.entries.push(Entry { line: number, key, value });
    }
    Ok(read)
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
        let read = read(text).unwrap();
        let got: Vec<_> = read.entries.iter().map(|entry| (entry.line, entry.key, entry.value)).collect();
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn forms() {
        check("", &[]);
        check("# a\n  ; b\n\n a = b c \r\nd=\n", &[(4, "a", "b c"), (5, "d", "")]);
        check("a=\"b\"\nc='d'\ne=\"\"", &[(1, "a", "b"), (2, "c", "d"), (3, "e", "")]);
        check("a=b=c # d", &[(1, "a", "b=c # d")]);
        check("a=\"x\",\"y\"", &[(1, "a", "x\",\"y")]);
        check("\u{feff}a=[\"x\", \"y\"]", &[(1, "a", "[\"x\", \"y\"]")]);
        check("a=1\n[s]\nb=2\nnonsense", &[(1, "a", "1")]);
    }

    #[test]
    fn problems() {
        assert_eq!(read("\na"), Err((2, Problem::NoAssignment)));
        assert_eq!(read("= a"), Err((1, Problem::NoKey)));
        for open in ["a=\"", "a='b\"", "a=\"b' # c"] {
            assert_eq!(read(open), Err((1, Problem::OpenQuote)), "{open}");
        }
        assert_eq!(read("a=1\n[s]").unwrap().section, Some(2));
    }
}
