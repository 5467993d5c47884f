//! The command line: parses flags and validates them to a request (contract 4).
//!
//! Nothing here accesses the machine.

mod request;
mod table;

pub use request::{AZURE_CUSTOM_DATA, Request, Task, UsageError, parse};
pub use table::usage;
