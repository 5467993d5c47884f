//! The repository's side (specification, section 6): signed files, under the names that clients request.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use crate::key::{Key, KeyId};
use crate::metadata::{
    MetaFile, MetadataError, Parsed, Role, RoleKeys, Root, Snapshot, Targets, Timestamp, role_type,
};
use crate::names::{NameError, metadata_file, target_file};
use crate::signer::{SignError, Signer, sign};
use crate::threshold::{NotSigned, verify_threshold};

/// What a repository serves. Roles may be signed on different machines: each call needs only its own signers.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Metadata by file name.
    pub metadata: BTreeMap<String, Vec<u8>>,
    /// Target files by percent-encoded path.
    pub targets: BTreeMap<String, Vec<u8>>,
}

/// Why something is not published: no client would accept it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum PublishError {
    #[error("there is no root yet")]
    NoRoot,
    #[error("version {found}, expected {expected}")]
    Version { found: u64, expected: u64 },
    #[error("no delegation to role `{0}`")]
    NotDelegated(String),
    #[error("the target differs from its metadata")]
    Target(#[from] crate::Mismatch),
    #[error("the metadata is not valid")]
    Invalid(#[from] MetadataError),
    #[error("the metadata is not signed")]
    Sign(#[from] SignError),
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Repository {
    /// The latest root.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        let versions = self.metadata.keys().filter_map(|name| name.strip_suffix(".root.json")?.parse().ok());
        let latest: u64 = versions.max()?;
        let bytes = self.metadata.get(&metadata_file(role_type::ROOT, Some(latest)))?;
        Some(Parsed::parse(bytes).ok()?.value)
    }

    /// Publishes the first root, or the next version.
    ///
    /// # Errors
    /// Its own keys or those of its predecessor do not sign it, or its version is not the next.
    pub fn publish_root(&mut self, root: Root, signers: &[&dyn Signer]) -> Result<Vec<u8>, PublishError> {
        let bytes = sign(root, signers)?.to_bytes()?;
        self.publish_signed_root(bytes.clone())?;
        Ok(bytes)
    }

    /// Publishes a root whose keys signed it elsewhere ([`add_signatures`](crate::add_signatures)).
    ///
    /// # Errors
    /// As of [`Repository::publish_root`].
    pub fn publish_signed_root(&mut self, bytes: Vec<u8>) -> Result<(), PublishError> {
        let Parsed { value: root, signatures, canonical } = Parsed::<Root>::parse(&bytes)?;
        let previous = self.root();
        let found = root.header.version.get();
        let expected =
            previous.as_ref().map_or(1, |previous| previous.header.version.get().saturating_add(1));
        if found != expected {
            return Err(PublishError::Version { found, expected });
        }
        for Root { roles, keys, .. } in [Some(&root), previous.as_ref()].into_iter().flatten() {
            verify_threshold(role_type::ROOT, &roles.root, keys, &canonical, &signatures)?;
        }
        self.metadata.insert(metadata_file(role_type::ROOT, Some(found)), bytes);
        Ok(())
    }

    /// Publishes targets of `role` whose keys are listed in `delegator`, or in the root for `targets`.
    ///
    /// # Errors
    /// The role's keys do not sign it.
    pub fn publish_targets(
        &mut self,
        role: &str,
        targets: Targets,
        delegator: Option<&Targets>,
        signers: &[&dyn Signer],
    ) -> Result<MetaFile, PublishError> {
        let root = self.root().ok_or(PublishError::NoRoot)?;
        let delegated =
            delegator.and_then(|delegator| delegator.delegations.as_ref()).and_then(|delegations| {
                let role = delegations.roles.iter().find(|delegated| delegated.name == role)?;
                Some((role.keys(), &delegations.keys))
            });
        let (rule, keys) = match (&delegated, root.role(role)) {
            (Some((rule, keys)), _) => (rule, *keys),
            (None, Some(rule)) => (rule, &root.keys),
            (None, None) => return Err(PublishError::NotDelegated(role.to_owned())),
        };
        self.publish(role, targets, signers, (rule, keys), root.consistent_snapshot)
    }

    /// Publishes a snapshot.
    ///
    /// # Errors
    /// The role's keys do not sign it.
    pub fn publish_snapshot(
        &mut self,
        snapshot: Snapshot,
        signers: &[&dyn Signer],
    ) -> Result<MetaFile, PublishError> {
        let root = self.root().ok_or(PublishError::NoRoot)?;
        let rule = (&root.roles.snapshot, &root.keys);
        self.publish(role_type::SNAPSHOT, snapshot, signers, rule, root.consistent_snapshot)
    }

    /// Publishes a timestamp: from now on clients use the snapshot that it lists.
    ///
    /// # Errors
    /// The role's keys do not sign it.
    pub fn publish_timestamp(
        &mut self,
        timestamp: Timestamp,
        signers: &[&dyn Signer],
    ) -> Result<(), PublishError> {
        let root = self.root().ok_or(PublishError::NoRoot)?;
        let rule = (&root.roles.timestamp, &root.keys);
        self.publish(role_type::TIMESTAMP, timestamp, signers, rule, false).map(|_| ())
    }

    /// Adds the bytes of a target, under every name that a client may request.
    ///
    /// # Errors
    /// They are not those of `file`, or the path is not one of a file.
    pub fn add_target(
        &mut self,
        path: &str,
        file: &crate::TargetFile,
        bytes: &[u8],
    ) -> Result<(), PublishError> {
        file.hashes.verify(bytes)?;
        let consistent = self.root().ok_or(PublishError::NoRoot)?.consistent_snapshot;
        let digests: Vec<Option<&str>> = if consistent {
            file.hashes.0.values().map(|digest| Some(&**digest)).collect()
        } else {
            vec![None]
        };
        for digest in digests {
            self.targets.insert(target_file(path, digest)?, bytes.to_vec());
        }
        Ok(())
    }

    fn publish<T: Role>(
        &mut self,
        role: &str,
        value: T,
        signers: &[&dyn Signer],
        rule: (&RoleKeys, &BTreeMap<KeyId, Key>),
        versioned: bool,
    ) -> Result<MetaFile, PublishError> {
        let version: NonZeroU64 = value.header().version;
        let bytes = signed_bytes(role, value, signers, rule)?;
        let meta = MetaFile::of(version, &bytes);
        self.metadata.insert(metadata_file(role, versioned.then_some(version.get())), bytes);
        Ok(meta)
    }
}

/// Signs, and verifies as a client will.
fn signed_bytes<T: Role>(
    role: &str,
    value: T,
    signers: &[&dyn Signer],
    (rule, keys): (&RoleKeys, &BTreeMap<KeyId, Key>),
) -> Result<Vec<u8>, PublishError> {
    let bytes = sign(value, signers)?.to_bytes()?;
    let Parsed { canonical, signatures, .. } = Parsed::<T>::parse(&bytes)?;
    verify_threshold(role, rule, keys, &canonical, &signatures)?;
    Ok(bytes)
}
