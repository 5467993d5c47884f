//! The flag table, Go's flag syntax, and parsing of single values.

mod kind;
pub mod syntax;
pub mod table;
pub mod value;

pub use kind::{Address, Flag, Group, Status, Value, ValueKind};
pub use table::FLAGS;
