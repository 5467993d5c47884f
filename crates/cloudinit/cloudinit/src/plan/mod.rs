//! Plans the steps that apply a checked config to a machine, each with its reason.
//!
//! A plan is data: `-plan` prints it, tests compare it, and `coreos-cloudinit` executes it. It depends only
//! on the arguments.

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
