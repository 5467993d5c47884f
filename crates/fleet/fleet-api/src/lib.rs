//! The cluster manager's HTTP API, version 1, as types: what is asked, what is answered, and where.
//!
//! Both sides use it: fleetd to answer, fleetctl to ask. The JSON is a contract with the original's programs: keys in
//! the order of the alphabet, empty fields left out. What the original has not stands in [`additions`], below paths
//! of its own. This crate must never open a connection, and never decide what a request does.

pub mod additions;
mod discovery;
mod error;
mod job_state;
mod json;
mod limits;
mod machine;
mod machine_patch;
mod page;
mod paths;
mod state;
mod unit;

pub use discovery::discovery;
pub use error::{ErrorBody, ErrorDocument};
pub use job_state::{JobState, JobStateError};
pub use json::{DecodeError, decode, encode};
pub use limits::{BODY_BYTES, PAGE_ITEMS};
pub use machine::{Machine, MachinePage};
pub use machine_patch::{MachinePatch, PatchError, PatchOperation, patches};
pub use page::{PageToken, TokenError, page_of};
pub use paths::{ALTERNATIVE_PREFIX, PREFIX, Query, path};
pub use state::{UnitState, UnitStatePage};
pub use unit::{Unit, UnitOption, UnitPage};
