//! The Update Framework, specification 1.0: signed metadata of the files that a repository has now.
//!
//! Four roles sign it: root lists the keys of all roles, targets describes files and may delegate, snapshot lists the
//! versions of all targets metadata, timestamp names the current snapshot. [`Client`] is the client's workflow
//! (section 5), [`Repository`] the other side (section 6).
//!
//! The crate does no I/O: transport and store are traits, time is an argument. It never uses metadata whose
//! signatures it has not verified, and never re-encodes what it stores.

#![warn(missing_docs)]

mod canonical;
mod client;
mod date;
mod digests;
mod json;
mod key;
mod metadata;
mod names;
mod pattern;
mod repository;
mod signer;
mod threshold;

pub use canonical::{CanonicalError, canonical};
pub use client::{
    Cause, Client, Error, Fetch, File, Limits, MemoryStore, Store, Target, TargetHasher, Trusted,
};
pub use date::{Date, DateError};
pub use digests::{Digests, Mismatch};
pub use json::{Extra, JsonError};
pub use key::{Key, KeyId, KeyValue};
pub use metadata::{
    DelegatedRole, Delegations, Header, MetaFile, MetadataError, Paths, RoleKeys, RoleName, Root,
    SPEC_VERSION, Signature, Signed, Snapshot, TargetFile, Targets, Timestamp, TopLevel, role_type,
};
pub use names::{NameError, metadata_file, quoted_role, target_file};
pub use pattern::{path_digest, pattern_matches};
pub use repository::{PublishError, Repository};
pub use signer::{Ed25519Signer, ListedSigner, SignError, Signer, add_signatures, insert_signatures, sign};
pub use threshold::{NotSigned, verify_threshold};
