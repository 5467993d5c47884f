//! The cluster's state in etcd v2: keys below a prefix, with the original's bytes, so that both implementations can
//! share a store.
//!
//! Paths are relative to the prefix, without a leading slash. Extensions, which the original ignores:
//! `machines/ID/instance`, `machines/ID/capacity`, `machines/ID/cordon`, `job/NAME/pin`, `job/NAME/rollout`,
//! `fence/key`.

mod garbage;
mod json;
mod key;
mod lease;
mod subject;
mod value;
mod view;
mod write;

pub use garbage::RetentionTracker;
pub use key::Key;
pub use lease::{EngineVersion, Lease, LeaseFacts, LeaseStep};
pub use subject::Subject;
pub use value::{JobObject, MachineObject, Rollout, UnitObject, UnitState, ValueError};
pub use view::View;
pub use write::{Write, writes_for_new_unit, writes_for_task};
