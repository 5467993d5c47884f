//! The command line: parses flags and validates them to a request (contract 4).
//!
//! Flags follow Go's `flag` package (`-flag v`, `-flag=v`, `--flag`), which common argument parsers do not
//! support. Nothing here accesses the machine.

mod parse;
mod request;
mod table;

pub use parse::UsageError;
pub use request::{Request, Task, parse};
pub use table::usage;
