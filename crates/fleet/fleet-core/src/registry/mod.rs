//! How the cluster's state stands in the store: etcd v2 keys below a prefix, the same bytes as the original
//! writes, so that its programs and ours can work on one store.
//!
//! Paths here are relative to the prefix and begin without a slash. Keys of our own, which the original passes
//! over: `machines/ID/instance`, `machines/ID/capacity`, `machines/ID/cordon`, `job/NAME/pin`,
//! `job/NAME/rollout`.

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
