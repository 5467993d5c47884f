//! The files of an application's repository: `N.targets.json` as published, `N.channels.json`, `N.snapshot.json` and
//! `timestamp.json` as signed here. Each is complete or absent, and `timestamp.json` is the last one of a version.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tuf::{Root, Signed, Snapshot, Timestamp, metadata_file, role_type};
use update_core::freshness::LIFETIME;
use update_core::repository::CHANNELS;

use super::online::Online;
use super::targets::{StoredTargets, TargetsError, verify};
use crate::limits::{SIGNED_VERSIONS, TARGETS_VERSIONS};

/// A folder with its versions, ascending.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    targets: Vec<u64>,
    signed: Vec<u64>,
}

/// The version and role of a file with a version in its name.
pub fn parse_name(name: &str) -> Option<(u64, &'static str)> {
    let (version, rest) = name.split_once('.')?;
    let version = version.parse().ok()?;
    let role = [role_type::TARGETS, CHANNELS, role_type::SNAPSHOT]
        .into_iter()
        .find(|role| rest.strip_suffix(".json") == Some(role))?;
    (metadata_file(role, Some(version)) == name).then_some((version, role))
}

impl Folder {
    /// # Errors
    /// The folder cannot be read.
    pub fn open(path: PathBuf) -> Result<Self, TargetsError> {
        let failed = |error| TargetsError::Io(path.clone(), error);
        let (mut targets, mut signed) = (Vec::new(), Vec::new());
        match fs::read_dir(&path) {
            Ok(entries) => {
                for entry in entries {
                    let name = entry.map_err(failed)?.file_name();
                    match parse_name(&name.to_string_lossy()) {
                        Some((version, role_type::TARGETS)) => targets.push(version),
                        Some((version, _)) => signed.push(version),
                        None => {}
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let mut folder = Self { path, targets, signed };
        // Its other files may be lost.
        folder.signed.extend(folder.read_timestamp()?.map(|(version, ..)| version));
        folder.targets.sort_unstable();
        folder.signed.sort_unstable();
        folder.signed.dedup();
        Ok(folder)
    }

    /// The highest version that may have been served.
    pub fn last_signed(&self) -> u64 {
        self.signed.last().copied().unwrap_or(0)
    }

    fn read(&self, name: &str) -> Result<Option<Bytes>, TargetsError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TargetsError::Io(path, error)),
        }
    }

    /// The newest targets metadata that is valid under `root`. A newer one without its root was never published.
    ///
    /// # Errors
    /// It cannot be read, or `online` lists a newer one.
    pub fn load_targets(
        &self,
        root: &Root,
        online: Option<&Online>,
    ) -> Result<Option<StoredTargets>, TargetsError> {
        let mut found = None;
        for version in self.targets.iter().rev() {
            let name = metadata_file(role_type::TARGETS, Some(*version));
            let Some(bytes) = self.read(&name)? else { continue };
            match verify(root, &bytes, 0) {
                Ok(stored) if stored.version() == *version => {
                    found = Some(stored);
                    break;
                }
                Ok(_) => tracing::warn!(name, "targets metadata has another version than its name"),
                Err(error) => {
                    tracing::warn!(name, error = service::error::chain(&error), "ignored targets metadata");
                }
            }
        }
        let listed = online.and_then(|online| {
            let snapshot = Signed::<Snapshot>::parse(&online.snapshot).ok()?.signed;
            snapshot.role(role_type::TARGETS).map(|meta| meta.version.get())
        });
        match listed.filter(|listed| found.as_ref().is_none_or(|found| found.version() < *listed)) {
            Some(lost) => {
                let name = metadata_file(role_type::TARGETS, Some(lost));
                Err(TargetsError::Damaged(self.path.join(name)))
            }
            None => Ok(found),
        }
    }

    fn read_timestamp(&self) -> Result<Option<(u64, Bytes, Timestamp)>, TargetsError> {
        let name = metadata_file(role_type::TIMESTAMP, None);
        let Some(bytes) = self.read(&name)? else { return Ok(None) };
        match Signed::<Timestamp>::parse(&bytes) {
            Ok(Signed { signed, .. }) => Ok(Some((signed.header.version.get(), bytes, signed))),
            Err(error) => {
                tracing::warn!(%error, path = %self.path.join(name).display(), "a damaged file is replaced");
                Ok(None)
            }
        }
    }

    /// What was signed last. `None` if a file is missing or damaged: a newer version will replace it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load_online(&self) -> Result<Option<Online>, TargetsError> {
        let Some((version, timestamp, parsed)) = self.read_timestamp()? else { return Ok(None) };
        let of = |role: &str| self.read(&metadata_file(role, Some(version)));
        let (Some(snapshot), Some(channels)) = (of(role_type::SNAPSHOT)?, of(CHANNELS)?) else {
            tracing::warn!(path = %self.path.display(), version, "signed metadata is incomplete and is replaced");
            return Ok(None);
        };
        let is_complete = || {
            parsed.snapshot()?.verify(&snapshot).ok()?;
            let snapshot = Signed::<Snapshot>::parse(&snapshot).ok()?.signed;
            snapshot.role(CHANNELS)?.verify(&channels).ok()
        };
        if is_complete().is_none() {
            tracing::warn!(path = %self.path.display(), version, "signed metadata is damaged and is replaced");
            return Ok(None);
        }
        let expires = u64::try_from(parsed.header.expires.unix()).unwrap_or(0);
        let signed = expires.saturating_sub(LIFETIME);
        Ok(Some(Online { version, signed, basis: None, timestamp, snapshot, channels }))
    }

    /// Stores targets metadata. Blocks on disk I/O.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store_targets(&mut self, new: &StoredTargets) -> Result<(), TargetsError> {
        self.write(&metadata_file(role_type::TARGETS, Some(new.version())), &new.bytes)?;
        self.targets.retain(|version| *version != new.version());
        self.targets.push(new.version());
        Ok(())
    }

    /// Stores signed metadata. After it nothing older is served. Blocks on disk I/O.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store_online(&mut self, new: &Online) -> Result<(), TargetsError> {
        // Also if a write fails: the version is not used again.
        self.signed.push(new.version);
        self.write(&metadata_file(CHANNELS, Some(new.version)), &new.channels)?;
        self.write(&metadata_file(role_type::SNAPSHOT, Some(new.version)), &new.snapshot)?;
        self.write(&metadata_file(role_type::TIMESTAMP, None), &new.timestamp)
    }

    /// Removes versions that no machine in the middle of an update needs. Blocks on disk I/O.
    pub fn prune(&mut self) {
        for (role, versions, kept) in [
            (role_type::TARGETS, &self.targets, TARGETS_VERSIONS),
            (CHANNELS, &self.signed, SIGNED_VERSIONS),
            (role_type::SNAPSHOT, &self.signed, SIGNED_VERSIONS),
        ] {
            for version in versions.iter().rev().skip(kept) {
                remove(&self.path.join(metadata_file(role, Some(*version))));
            }
        }
        self.targets.drain(..self.targets.len().saturating_sub(TARGETS_VERSIONS));
        self.signed.drain(..self.signed.len().saturating_sub(SIGNED_VERSIONS));
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TargetsError> {
        let path = self.path.join(name);
        let write = || {
            fs::create_dir_all(&self.path)?;
            service::file::replace(&path, bytes, 0o644)
        };
        write().map_err(|error| TargetsError::Io(path.clone(), error))
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "cannot remove old metadata");
        }
        _ => {}
    }
}
