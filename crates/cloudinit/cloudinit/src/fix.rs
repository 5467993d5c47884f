//! A text replacement that resolves a finding.

use serde::Serialize;

use crate::yaml::Location;

/// Line and column start at 1, in characters, as in a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    pub line: u32,
    pub column: u32,
    /// The text to replace; empty for an insertion.
    pub replaces: String,
    pub with: String,
}

impl Fix {
    pub fn new(location: Location, replaces: impl Into<String>, with: impl Into<String>) -> Self {
        Self { line: location.line, column: location.column, replaces: replaces.into(), with: with.into() }
    }

    /// Adjusts the fix to the actual text: keys are known with `_` for each `-`, and a finding about a value
    /// is located at its key. Returns `None` if the text is neither at the location nor exactly once after
    /// it.
    pub(crate) fn confirmed(mut self, lines: &[&str]) -> Option<Self> {
        let line = lines.get(usize::try_from(self.line.checked_sub(1)?).ok()?)?;
        let before = usize::try_from(self.column.checked_sub(1)?).ok()?;
        let start = line.char_indices().nth(before).map_or(line.len(), |(at, _)| at);
        let rest = &line[start..];
        let folded = rest.replace('-', "_");
        let wanted = self.replaces.replace('-', "_");
        let at = if folded.starts_with(&wanted) {
            0
        } else {
            let mut locations = folded.match_indices(&wanted).map(|(at, _)| at);
            let only = locations.next()?;
            locations.next().is_none().then_some(only)?
        };
        self.column += u32::try_from(rest[..at].chars().count()).ok()?;
        self.replaces = rest[at..at + wanted.len()].to_owned();
        Some(self)
    }

    /// Returns `text` with the replacement applied, or unchanged if it does not match. Clients apply fixes
    /// themselves.
    #[cfg(test)]
    pub fn apply(&self, text: &str) -> String {
        let mut start = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if number + 1 == self.line as usize {
                let before = self.column.saturating_sub(1) as usize;
                start += line.char_indices().nth(before).map_or(line.trim_end().len(), |(at, _)| at);
                break;
            }
            start += line.len();
        }
        match text.get(start..).and_then(|rest| rest.strip_prefix(self.replaces.as_str())) {
            Some(after) => format!("{}{}{after}", &text[..start], self.with),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(fix: Fix, text: &str) -> Option<Fix> {
        fix.confirmed(&text.split('\n').collect::<Vec<_>>())
    }

    fn at(line: u32, column: u32, replaces: &str, with: &str) -> Fix {
        Fix::new(Location { line, column }, replaces, with)
    }

    #[test]
    fn fix_is_confirmed_against_the_text() {
        let text = "#cloud-config\nhost-nme: a\n\"write_file\": []\n";
        let mended = |fix: Fix| confirmed(fix, text).map(|fix| fix.apply(text));
        assert_eq!(
            mended(at(2, 1, "host_nme", "hostname")).unwrap(),
            "#cloud-config\nhostname: a\n\"write_file\": []\n"
        );
        assert_eq!(
            mended(at(3, 1, "write_file", "write_files")).unwrap(),
            "#cloud-config\nhost-nme: a\n\"write_files\": []\n"
        );
        let mode = "mode: 420\nboth: a 420 b 420\n";
        assert_eq!(
            confirmed(at(1, 1, "420", "\"0644\""), mode).unwrap().apply(mode)[..13],
            *"mode: \"0644\"\n"
        );
        assert_eq!(confirmed(at(2, 1, "420", "\"0644\""), mode), None);
        for nowhere in [at(2, 2, "host_nme", ""), at(9, 1, "x", ""), at(0, 0, "x", ""), at(2, 90, "x", "")] {
            assert_eq!(mended(nowhere), None);
        }
    }

    #[test]
    fn columns_count_characters() {
        let text = "a\n\u{e4}\u{f6}: $public_ip4 \u{fc}\n";
        let fix = confirmed(at(2, 5, "$public_ip4", "$public_ipv4"), text).unwrap();
        assert_eq!(fix.apply(text), "a\n\u{e4}\u{f6}: $public_ipv4 \u{fc}\n");
        assert_eq!(at(1, 1, "", "#cloud-config\n").apply(text), format!("#cloud-config\n{text}"));
        assert_eq!(at(1, 1, "b", "c").apply(text), text);
    }
}
