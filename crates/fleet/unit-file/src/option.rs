//! One setting of a unit file.

use crate::finding::Position;

/// One `Name=value` of a section. Options may repeat; their order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitOption {
    pub section: String,
    pub name: String,
    /// With the backslashes and newlines of its continuation lines.
    pub value: String,
    /// Where its name stands; `None` where it came without a text.
    pub position: Option<Position>,
}
