//! Unit name patterns with the semantics of Go's `path.Match`: `*`, `?`, `[a-z]`, `[^a]`, `\`.
//!
//! No library matches exactly: others make slashes an option, support `**` and `{}`, treat `!` as negation, or detect
//! malformed patterns only when a match reaches the error.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A pattern. A malformed one matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Arc<str>);

/// A malformed pattern, such as `a[`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("syntax error in pattern {0:?}: it matches nothing")]
pub struct GlobError(String);

/// An element of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Star,
    Any,
    Letter(char),
    /// The text between the brackets, without `^`.
    Class {
        body: &'a str,
        negated: bool,
    },
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern is well-formed.
    pub fn check(&self) -> Result<(), GlobError> {
        let mut rest: &str = &self.0;
        while !rest.is_empty() {
            rest = next(rest).ok_or_else(|| GlobError(self.0.to_string()))?.1;
        }
        Ok(())
    }

    /// A prefix of every matching name. Ends at an escape, so it may be shorter than possible.
    pub fn literal_prefix(&self) -> &str {
        let end = self.0.find(['*', '?', '[', '\\']).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// Whether it is a plain name without wildcards.
    pub fn is_literal(&self) -> bool {
        self.literal_prefix().len() == self.0.len()
    }

    /// Whether the whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.check().is_ok() && matches(&self.0, name)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Only the last star is retried, so the cost is at most the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Where to continue if the part after the last star does not match.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        let letter = name.chars().next();
        let rest = letter.map(|letter| &name[letter.len_utf8()..]);
        match (next(pattern), letter.zip(rest)) {
            (Some((Token::Star, after)), _) => {
                retry = Some((after, name));
                pattern = after;
                continue;
            }
            (Some((token, after)), Some((letter, rest))) if token.matches(letter) => {
                (pattern, name) = (after, rest);
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        // The star matches one more character, except for a slash.
        let Some((after, from)) = retry else { return false };
        let Some(letter) = from.chars().next().filter(|letter| *letter != '/') else { return false };
        let from = &from[letter.len_utf8()..];
        retry = Some((after, from));
        (pattern, name) = (after, from);
    }
}

/// The first element and the rest; `None` at the end or if malformed.
fn next(pattern: &str) -> Option<(Token<'_>, &str)> {
    let mut letters = pattern.chars();
    match letters.next()? {
        '*' => Some((Token::Star, letters.as_str())),
        '?' => Some((Token::Any, letters.as_str())),
        '\\' => Some((Token::Letter(letters.next()?), letters.as_str())),
        '[' => class(letters.as_str()),
        letter => Some((Token::Letter(letter), letters.as_str())),
    }
}

/// `text` follows the opening bracket. A class has at least one range.
fn class(text: &str) -> Option<(Token<'_>, &str)> {
    let negated = text.starts_with('^');
    let body = text.strip_prefix('^').unwrap_or(text);
    let mut rest = body;
    loop {
        let at_end = rest.starts_with(']') && rest.len() < body.len();
        if at_end {
            let length = body.len() - rest.len();
            return Some((Token::Class { body: &body[..length], negated }, &rest[1..]));
        }
        (_, _, rest) = range(rest)?;
    }
}

/// A range `a` or `a-z` of a class, and the rest.
fn range(text: &str) -> Option<(char, char, &str)> {
    let (low, rest) = range_end(text)?;
    match rest.strip_prefix('-') {
        Some(rest) => range_end(rest).map(|(high, rest)| (low, high, rest)),
        None => Some((low, low, rest)),
    }
}

/// `-` and `]` are literal only after a backslash.
fn range_end(text: &str) -> Option<(char, &str)> {
    let mut letters = text.chars();
    match letters.next()? {
        '-' | ']' => None,
        '\\' => letters.next().map(|letter| (letter, letters.as_str())),
        letter => Some((letter, letters.as_str())),
    }
}

impl Token<'_> {
    fn matches(&self, letter: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => letter != '/',
            Self::Letter(own) => *own == letter,
            Self::Class { body, negated } => {
                let mut rest = *body;
                let mut found = false;
                while let Some((low, high, after)) = range(rest) {
                    found |= (low..=high).contains(&letter);
                    rest = after;
                }
                found != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} on {name}");
    }

    #[test]
    fn matching() {
        check("hello.service", "hello.service", true);
        check("hello*", "hello@1.service", true);
        check("hello", "hello.service", false);
        check("hello*.service", "hello.service", true);
        check("*", "", true);
        check("", "", true);
        check("", "a", false);
        check("*", "a/b", false);
        check("a*b*c", "axxbxxbxc", true);
        check("a*b*c", "axxbxxbx", false);
        check("?.service", "a.service", true);
        check("?", "/", false);
        check("?", "ä", true);
        check("web@[1-3].service", "web@2.service", true);
        check("web@[1-3].service", "web@4.service", false);
        check("[^a]", "b", true);
        check("[^a]", "a", false);
        check("[!a]", "!", true);
        check("[!a]", "b", false);
        check("[a-cx]", "x", true);
        check(r"[\]]", "]", true);
        check(r"a\*", "a*", true);
        check(r"a\*", "ab", false);
        check("a{1,2}", "a1", false);
        check("a{1,2}", "a{1,2}", true);
    }

    /// Also if a match would never reach the error.
    #[test]
    fn malformed() {
        for pattern in ["[", "[]", "[a", "[^]", "[a-]", "[-a]", "a\\", "b*[", "[]a]"] {
            assert!(Glob::new(pattern).check().is_err(), "{pattern}");
            for name in ["", "a", "b", "[", "ab", "[]", pattern] {
                check(pattern, name, false);
            }
        }
    }

    #[test]
    fn prefixes() {
        for (pattern, prefix) in [("web@*", "web@"), ("web", "web"), ("*", ""), (r"a\*", "a"), ("a[b]", "a")]
        {
            assert_eq!(Glob::new(pattern).literal_prefix(), prefix);
        }
    }

    /// Exponential with backtracking.
    #[test]
    fn stars() {
        check(&"*a".repeat(60), &"a".repeat(59), false);
        check(&"*a".repeat(60), &"a".repeat(200), true);
    }
}
