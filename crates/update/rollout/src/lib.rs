//! Who gets which version when: channels, groups, their policies, and the machines (contract update.md 1.4).
//!
//! It must never offer a machine a version that is not newer than its own, exceed a limit, or wait forever for a
//! machine that went away. Everything is a function of what was said and of the time that is given; what is to be
//! kept is told as records.

mod activity;
mod application;
mod check;
mod counts;
mod event;
mod fleet;
mod group;
pub mod limits;
mod machine;
mod operate;
mod package;
mod policy;
mod reason;
mod record;
mod share;
mod timeline;
mod track;
mod window;

pub use activity::{Entry, Kind, Severity};
pub use application::{App, Application};
pub use check::{Answer, Contact, Verdict};
pub use counts::Counts;
pub use fleet::Fleet;
pub use group::{Channel, Group, GroupState, Paused, PausedBy, Resumed, Rollout};
pub use machine::{Failure, Grant, Machine, Past, Status};
pub use operate::OperateError;
pub use package::{File, Package};
pub use policy::{Policy, PolicyError, Wave, Zones};
pub use reason::Reason;
pub use record::{Loaded, Record, Value};
pub use share::is_among;
pub use timeline::{Point, Timeline};
pub use track::{NoTrack, Track, is_word};
pub use window::{NoWindow, Window};
