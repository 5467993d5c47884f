//! Locates the dash of a list item: libyaml reports only the start of its value.

use super::event::Position;

pub(super) struct Lines<'text> {
    text: &'text [u8],
    starts: Vec<usize>,
}

impl<'text> Lines<'text> {
    pub(super) fn new(text: &'text [u8]) -> Self {
        let breaks = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Returns the start of the item whose value is at `value`, in a list that starts at `list`: its dash, or
    /// the value itself in a flow list.
    pub(super) fn dash(&self, list: Position, value: Position) -> Position {
        // Flow lists have no dashes; searching for one from each item would take quadratic time.
        if !self.has_dash(list.line, list.column) {
            return value;
        }
        // Only blanks and comments separate a dash from its value.
        (list.line..=value.line)
            .rev()
            .find(|line| self.has_dash(*line, list.column))
            .map_or(value, |line| Position { line, column: list.column })
    }

    /// Block lists are indented with blanks or dashes of outer lists, so that columns equal bytes.
    fn has_dash(&self, line: usize, column: usize) -> bool {
        let Some(start) = self.starts.get(line) else { return false };
        let Some(head) = self.text.get(*start..*start + column + 1) else { return false };
        head.last() == Some(&b'-') && !head.contains(&b'\n') && !head.contains(&b'#')
    }
}
