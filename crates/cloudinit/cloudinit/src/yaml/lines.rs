//! Finds the dash of a list's entry: libyaml only says where the entry's value begins.

use super::event::Position;

/// The lines of a text.
pub(super) struct Lines<'text> {
    text: &'text [u8],
    starts: Vec<usize>,
}

impl<'text> Lines<'text> {
    pub(super) fn new(text: &'text [u8]) -> Self {
        let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Where the entry whose value is at `value` begins, in a list that begins at `list`: its dash, or the
    /// value itself in a list in brackets.
    pub(super) fn dash(&self, list: Position, value: Position) -> Position {
        // Brackets have no dashes, and looking for one from each entry would take forever.
        if !self.has_dash(list.line, list.column) {
            return value;
        }
        // Between the dash and its value there is nothing but blanks and comments.
        (list.line..=value.line)
            .rev()
            .find(|line| self.has_dash(*line, list.column))
            .map_or(value, |line| Position { line, column: list.column })
    }

    /// Block lists are indented with blanks or dashes of outer lists, so that columns are bytes.
    fn has_dash(&self, line: usize, column: usize) -> bool {
        let Some(start) = self.starts.get(line) else { return false };
        let Some(head) = self.text.get(*start..*start + column + 1) else { return false };
        head.last() == Some(&b'-') && !head.contains(&b'\n') && !head.contains(&b'#')
    }
}
