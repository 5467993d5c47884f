//! Types of the cluster manager's HTTP API, version 1, for server and client.
//!
//! The JSON is a contract with the original's programs: sorted keys, empty fields omitted. Extensions are in
//! [`additions`], below their own paths. This crate must never open a connection, nor decide what a request does.

#![warn(missing_docs)]

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
pub use machine_patch::{MachinePatch, PatchError, PatchOperation, parse_patches};
pub use page::{PageToken, TokenError, paginate};
pub use paths::{ALTERNATIVE_PREFIX, PREFIX, Query, path};
pub use state::{UnitState, UnitStatePage};
pub use unit::{Unit, UnitOption, UnitPage};
