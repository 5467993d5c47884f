//! rkt's pods as data: the command line of `rkt run`, the manifest of a pod, and the OCI runtime specification of each
//! app in it.
//!
//! It reads no file and starts nothing: images' settings and accounts are arguments.

#![warn(missing_docs)]

mod app_name;
mod capabilities;
mod insecure;
pub mod limits;
mod manifest;
mod network;
mod quantity;
mod request_error;
mod resolve;
mod run_args;
pub mod run_flags;
mod seccomp;
mod spec;
mod state;
mod uuid;
mod volume;

pub use app_name::{AppNameError, app_name, check_app_name};
pub use capabilities::{Capabilities, CapabilityError};
pub use insecure::{InsecureError, InsecureOptions};
pub use manifest::{App, Dns, HostsEntry, PodManifest};
pub use network::{NetworkError, NetworkMode, PortForward, Protocol};
pub use quantity::{QuantityError, parse_cpu, parse_memory};
pub use request_error::RequestError;
pub use resolve::{Accounts, AppImage, PodEnvironment, ResolveError, resolve};
pub use run_args::{AppRequest, PodRequest, parse};
pub use spec::{AppPaths, Machine, runtime_spec};
pub use state::PodState;
pub use uuid::{Uuid, UuidError};
pub use volume::{Mount, Volume, VolumeError, VolumeKind};
