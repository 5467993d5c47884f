//! One measured figure: a row of the table in `docs/benchmarks.md`.

pub struct Figure {
    pub what: String,
    /// Empty where none is set.
    pub target: &'static str,
    pub measured: String,
    pub command: String,
}
