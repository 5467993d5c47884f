//! The root that a machine trusts, and the metadata that it accepted under it.

use std::error::Error;
use std::path::{Path, PathBuf};

use omaha::ErrorCode;
use tuf::{Cause, Client, Fetch, File, Limits, Root, Signed, Store, quoted_role, role_type};
use update_core::freshness::MAX_VALIDITY;
use update_core::repository::MAX_TARGETS;
use update_core::roots::{self, Clock, MAX_ROOT, replay};
use update_core::trust::{Anchor, RootInForce};

use crate::error::{Failure, Kind, code};
use crate::origin::Origin;
use crate::paths::Paths;
use crate::settings::Settings;
use crate::state::{bytes, remove_file, replace_file};

/// A root that cannot be used: the trusted keys are unknown.
#[derive(Debug, thiserror::Error)]
enum RootError {
    #[error("there is no trusted root, {0}: a machine without one accepts no updates")]
    None(PathBuf),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: crate::state::StateError },
    #[error("invalid root {path}")]
    Damaged { path: PathBuf, source: Cause },
    #[error("invalid root in {folder}; remove *.root.json there: the next check fetches the roots again")]
    Accepted { folder: PathBuf, source: tuf::Error },
}

/// The store of a [`Client`] on a machine. Accepted roots stay, and are verified from the anchor's at each read: whoever
/// can write here cannot add one of their own. Other metadata is verified by the client.
pub struct TrustStore {
    folder: PathBuf,
    anchor: Anchor,
    bytes: Vec<u8>,
    root: Root,
}

impl TrustStore {
    /// The operator's root if the settings allow it and there is one, or else the image's. The image's is protected by
    /// dm-verity.
    ///
    /// # Errors
    /// There is no root, or one cannot be read or is invalid.
    pub fn open(paths: &Paths, settings: &Settings) -> Result<Self, Failure> {
        let local = paths.local_root();
        let (anchor, path, folder) = if settings.allow_local_keys && local.exists() {
            (Anchor::Local, local, paths.state_folder().join("local"))
        } else {
            (Anchor::Image, paths.image_root(), paths.state_folder())
        };
        Self::read(anchor, &path, folder).map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))
    }

    fn read(anchor: Anchor, path: &Path, folder: PathBuf) -> Result<Self, RootError> {
        let read =
            |path: &Path| bytes(path).map_err(|source| RootError::Read { path: path.to_owned(), source });
        let first = read(path)?.ok_or_else(|| RootError::None(path.to_owned()))?;
        let root =
            Root::first(&first).map_err(|source| RootError::Damaged { path: path.to_owned(), source })?;
        let mut accepted = vec![];
        for version in (roots::version(&root)..).skip(1) {
            let Some(next) = read(&folder.join(roots::file(version)))? else { break };
            accepted.push(next);
        }
        let root = replay(&root, &accepted)
            .map_err(|source| RootError::Accepted { folder: folder.clone(), source })?;
        Ok(Self { folder, anchor, bytes: accepted.pop().unwrap_or(first), root })
    }

    /// The root in force: the anchor's, or the last of the accepted ones that it leads to. It may be expired.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The file with it.
    #[must_use]
    pub fn root_file(&self) -> &[u8] {
        &self.bytes
    }

    /// Identifies it.
    #[must_use]
    pub fn in_force(&self) -> RootInForce {
        RootInForce { anchor: self.anchor, version: roots::version(&self.root) }
    }

    fn file(&self, role: &str) -> PathBuf {
        self.folder.join("metadata").join(format!("{}.json", quoted_role(role)))
    }
}

impl Store for TrustStore {
    fn read(&self, role: &str) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        match role {
            role_type::ROOT => Ok(Some(self.bytes.clone())),
            _ => Ok(bytes(&self.file(role))?),
        }
    }

    fn write(&mut self, role: &str, bytes: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        if role != role_type::ROOT {
            return Ok(replace_file(self.file(role), bytes)?);
        }
        let root = Signed::<Root>::parse(bytes)?.signed;
        let version = roots::version(&root);
        // A later one, behind a gap, may follow another root than this.
        remove_file(self.folder.join(roots::file(version.saturating_add(1))))?;
        replace_file(self.folder.join(roots::file(version)), bytes)?;
        tracing::info!(version, "root version {version} is now in force");
        (self.bytes, self.root) = (bytes.to_vec(), root);
        Ok(())
    }

    fn remove(&mut self, role: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(remove_file(self.file(role))?)
    }
}

/// A client of the metadata in `origin`.
pub fn client<S: Store>(origin: &Origin, store: S, clock: Clock) -> Client<impl Fetch + use<'_, S>, S> {
    let fetch = |file: File<'_>, limit: u64| match file {
        File::Metadata(name) => Ok(origin.file_if_exists(name, limit)?),
        // Releases have URLs of their own.
        File::Target(_) => Ok(None),
    };
    let limits = Limits {
        root: MAX_ROOT as u64,
        targets: MAX_TARGETS as u64,
        timestamp_validity: clock.time().map(|_| MAX_VALIDITY),
        ..Limits::default()
    };
    Client::new(fetch, store, limits, clock.for_tuf())
}

/// The failure for metadata that is not accepted.
pub fn refused(error: tuf::Error) -> Failure {
    let (kind, code) = match &error.cause {
        Cause::Fetch(source) => match source.downcast_ref::<Failure>() {
            Some(failure) => return failure.clone(),
            None => (Kind::Transient, ErrorCode::DOWNLOAD_TRANSFER),
        },
        Cause::Missing => (Kind::Transient, ErrorCode::DOWNLOAD_TRANSFER),
        Cause::Store(_) => (Kind::Machine, code::STATE),
        Cause::NotSigned(_) | Cause::NoRoot => (Kind::Rejected, ErrorCode::PAYLOAD_PUBLIC_KEY),
        Cause::Mismatch(_) => (Kind::Rejected, ErrorCode::PAYLOAD_HASH_MISMATCH),
        Cause::Expired { .. }
        | Cause::Rollback { .. }
        | Cause::ListedRollback { .. }
        | Cause::ValidTooLong { .. } => (Kind::Rejected, ErrorCode::DEFERRED_PER_POLICY),
        _ => (Kind::Rejected, code::MANIFEST),
    };
    Failure::new(kind, code, &error)
}
