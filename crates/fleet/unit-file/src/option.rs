//! An option of a unit file.

use crate::finding::Position;

/// One `Name=value` of a section. Options may repeat, and their order is significant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitOption {
    /// Without brackets.
    pub section: String,
    /// The text before `=`.
    pub name: String,
    /// Including backslashes and newlines of continuation lines.
    pub value: String,
    /// Position of the name; `None` without a text.
    pub position: Option<Position>,
}
