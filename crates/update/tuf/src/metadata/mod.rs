//! The files of a repository (specification, section 4).

mod root;
mod signed;
mod snapshot;
mod targets;

pub use root::{RoleKeys, Root, TopLevel};
pub use signed::{Header, MetadataError, RoleName, SPEC_VERSION, Signature, Signed, role_type};
pub(crate) use signed::{Parsed, Role};
pub use snapshot::{MetaFile, Snapshot, Timestamp};
pub use targets::{DelegatedRole, Delegations, Paths, TargetFile, Targets};
