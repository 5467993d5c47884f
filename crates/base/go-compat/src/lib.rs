//! Values as Go's standard library writes and parses them, for programs that must be compatible with Go programs.

#![warn(missing_docs)]

mod boolean;
mod duration;
mod flag;
mod json;

pub use boolean::parse_bool;
pub use duration::{format_duration, parse_duration};
pub use flag::split_flag;
pub use json::{push_string, to_string};
