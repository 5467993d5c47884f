//! Measured figures: rows of the tables in `docs/benchmarks.md`.

use std::borrow::Cow;

pub struct Figure {
    pub what: String,
    /// Empty where none is set.
    pub target: Cow<'static, str>,
    pub measured: String,
    pub command: String,
}

/// Rows as `docs/benchmarks.md` has them, date and machine left to whoever measured.
pub fn rows(figures: &[Figure]) -> String {
    let mut text =
        String::from("| what | target | measured | command | date | machine |\n|---|---|---|---|---|---|\n");
    for Figure { what, target, measured, command } in figures {
        text += &format!("| {what} | {target} | {measured} | `{command}` | | |\n");
    }
    text
}
