//! How long a datasource is asked for.

/// Whether a source that is not there yet is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A machine that boots: the source may come.
    Wait,
    /// A person who checks a file: it is there now or the name is wrong.
    AskOnce,
}
