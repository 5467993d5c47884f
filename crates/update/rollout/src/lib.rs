//! Decides which machine gets which version, and when: applications, channels, groups, policies and machines
//! (contract update.md 1.4).
//!
//! Pure: the state is a function of the requests, the operators' commands and the time passed in. Changes to persist
//! are reported as [`RecordKey`]s. It never offers a version that is not newer than the running one, exceeds a limit
//! of a policy, or waits forever for an unreachable machine.

#![warn(missing_docs)]

mod activity;
mod application;
mod check;
mod counts;
mod event;
mod group;
pub mod limits;
mod machine;
mod operate;
mod package;
mod policy;
mod reason;
mod record;
mod share;
mod state;
mod timeline;
mod track;
mod window;

pub use activity::{Entry, Kind, Severity};
pub use application::{App, Application};
pub use check::{AppOutcome, AppRequest, CheckResult};
pub use counts::Counts;
pub use group::{Channel, Group, GroupState, Paused, PausedBy, Resumed, Rollout};
pub use machine::{Failure, Grant, Machine, Status, StatusChange};
pub use operate::OperateError;
pub use package::{File, Image, Images, Package};
pub use policy::{Policy, PolicyError, Wave, Zones};
pub use reason::Reason;
pub use record::{LoadedRecord, RecordKey, Value};
pub use share::is_in_share;
pub use state::UpdateState;
pub use timeline::Timeline;
pub use track::{ParseTrackError, Track, is_identifier};
pub use window::{ParseWindowError, Window};
