//! Flags: the table of them, Go's syntax, and what values look like. Not what they mean together.

mod kind;
pub mod syntax;
pub mod table;
pub mod value;

pub use kind::{Address, Flag, Group, Kind, Standing, Value};
pub use table::FLAGS;
