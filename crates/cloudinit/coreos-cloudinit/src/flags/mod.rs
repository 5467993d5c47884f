//! The command line: raw flags in, a checked request out (contract 4).
//!
//! Flags are written as Go programs have them: `-flag v`, `-flag=v`, `--flag`; that is why no common flag
//! library reads them. It must never look at the machine.

mod parse;
mod request;
mod table;

pub use parse::UsageError;
pub use request::{Request, Task, parse};
pub use table::usage;
