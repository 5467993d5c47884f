//! The API's job state, used for desired and current states.

pub use fleet_api::{JobState, JobStateError};
