//! One measured figure: a row of the table in `docs/benchmarks.md`.

use std::borrow::Cow;

pub struct Figure {
    pub what: String,
    /// Empty where none is set.
    pub target: Cow<'static, str>,
    pub measured: String,
    pub command: String,
}
