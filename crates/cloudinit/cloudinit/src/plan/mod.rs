//! Checked config and observed facts to a list of steps, each with its reason.
//!
//! A plan is data: printed by `-plan`, compared in tests, carried out by one function elsewhere. It must
//! never depend on anything but its arguments.

mod build;
mod files;
mod network;
mod print;
mod step;
mod units;
mod users;

pub use build::{add_scripts, plan};
pub(crate) use files::{CERTIFICATES_PATH, FLANNEL_PATH, UPDATE_CONF_PATH};
pub use print::{lines, print, sha256};
pub use step::{Action, Facts, FileKind, FileWrite, Hash, Plan, Settings, Step, When};
pub(crate) use units::{SERVICE_DROP_IN, environment};
