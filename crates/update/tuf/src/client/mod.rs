//! The client's workflow (specification, section 5).

mod error;
mod io;
mod limits;
mod search;
mod target;
mod workflow;

pub use error::{Cause, Error};
pub use io::{Fetch, File, MemoryStore, Store};
pub use limits::Limits;
pub use target::{Target, TargetHasher};
pub use workflow::{Client, Trusted};
