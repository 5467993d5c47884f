//! What was asked of a unit, and what became of it: the API's word for it is ours.

pub use fleet_api::{JobState, JobStateError};
