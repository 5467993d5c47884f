//! Trust anchors: the image's keys, the key sets that superseded them, and the operator's keys.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use omaha::ErrorCode;
use release::{KeySet, MetadataError, files};
use update_core::key_sets::{Clock, MAX_STEPS, SignedKeySet, newer, replay, verify_chain};
use update_core::trust::{ActiveKeySet, RoleKeys, TrustAnchors, TrustState};

use crate::attempt::{Updater, now, state_failed};
use crate::error::{Failure, Kind, code};
use crate::settings::Settings;

/// Contain `release/*.pub` and `channel/*.pub`; the first one may contain a key set, too.
const VENDOR: &str = "usr/share/keelson/keys";
const LOCAL: &str = "etc/keelson/keys.d";

#[derive(Debug, thiserror::Error)]
enum ImageKeySetError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}, the key set of the image, is invalid")]
    Damaged { path: PathBuf, source: MetadataError },
}

impl Updater {
    /// The key set in force: the image's, or the last of the accepted ones that it leads to. `None` if the image
    /// contains single keys. The image's is protected by dm-verity; the others are verified at each read.
    ///
    /// # Errors
    /// A set cannot be read or is invalid, so the trusted keys are unknown.
    pub fn key_set(&self) -> Result<Option<KeySet>, Failure> {
        let Some(image) = image_key_set(&self.paths.at(VENDOR))? else { return Ok(None) };
        let accepted = self.state.key_sets_after(image.epoch).map_err(state_failed)?;
        let last = replay(&image, &accepted).map_err(|why| state_failed(self.state.invalid_key_sets(why)))?;
        Ok(Some(last))
    }

    /// Verifies and persists the key sets that follow the current one. `fetch` returns a file, or `None` if it does not
    /// exist. Without a key set in force it does nothing.
    ///
    /// # Errors
    /// A set is rejected or cannot be fetched. The current set stays in force.
    pub(crate) fn follow_key_sets(
        &self,
        fetch: impl Fn(&str) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<(), Failure> {
        let Some(trust_anchors) = self.key_set()? else { return Ok(()) };
        let mut chain = Vec::new();
        for epoch in (trust_anchors.epoch..).skip(1).take(MAX_STEPS) {
            let Some(bytes) = fetch(&files::keys(epoch))? else { break };
            let signatures = fetch(&files::keys_signatures(epoch))?.unwrap_or_default();
            let signatures = String::from_utf8_lossy(&signatures).into_owned();
            chain.push(SignedKeySet { bytes, signatures });
        }
        let clock = Clock { now: now(), build_time: self.identity.build_time };
        let last = verify_chain(&trust_anchors, &chain, clock)
            .map_err(|refusal| Failure::new(Kind::Rejected, ErrorCode::PAYLOAD_PUBLIC_KEY, &refusal))?;
        self.state.add_key_sets(trust_anchors.epoch.saturating_add(1), &chain).map_err(state_failed)?;
        // The image's set, too: after a rollback to an older image, the keys that it revoked stay revoked.
        let record = |state: &mut TrustState| *state = state.valid_under(last.epoch);
        self.state.update_trust_state(record).map_err(state_failed)?;
        if last.epoch > trust_anchors.epoch {
            tracing::info!(epoch = last.epoch, "key set {} is now in force", last.epoch);
        }
        Ok(())
    }

    /// The keys of the image or of the key set, and the operator's if enabled.
    pub(crate) fn authorities(&self, settings: &Settings) -> Result<TrustAnchors, Failure> {
        let mut authorities = anchors_of(self.key_set()?, &[self.paths.at(VENDOR)])?;
        if settings.allow_local_keys {
            add_signers(&mut authorities.local, &self.paths.at(LOCAL))?;
        }
        Ok(authorities)
    }
}

/// The trust anchors of a machine whose image contains `folders`, under the key set `set`.
///
/// # Errors
/// Keys or a set cannot be read.
pub fn trust_anchors_of(folders: &[PathBuf], mut key_set: Option<KeySet>) -> Result<TrustAnchors, Failure> {
    for folder in folders {
        key_set = newer(image_key_set(folder)?, key_set);
    }
    anchors_of(key_set, folders)
}

/// With a key set only its keys count.
fn anchors_of(key_set: Option<KeySet>, folders: &[PathBuf]) -> Result<TrustAnchors, Failure> {
    let mut authorities = TrustAnchors::default();
    match &key_set {
        Some(key_set) => authorities.vendor = RoleKeys::of(key_set),
        None => folders.iter().try_for_each(|folder| add_signers(&mut authorities.vendor, folder))?,
    }
    authorities.key_set = key_set.as_ref().map(ActiveKeySet::of);
    Ok(authorities)
}

fn image_key_set(folder: &Path) -> Result<Option<KeySet>, Failure> {
    let path = folder.join(files::KEYS);
    let found = match fs::read(&path) {
        Ok(bytes) => match KeySet::parse(&bytes) {
            Ok(key_set) => Ok(Some(key_set)),
            Err(source) => Err(ImageKeySetError::Damaged { path, source }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageKeySetError::Read { path, source }),
    };
    found.map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))
}

fn add_signers(signers: &mut RoleKeys, folder: &Path) -> Result<(), Failure> {
    for (kind, to) in [("release", &mut signers.release), ("channel", &mut signers.channel)] {
        for path in public_keys(&folder.join(kind)) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let added = to.add(&path.display().to_string(), &text);
            added.map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))?;
        }
    }
    Ok(())
}

/// The `.pub` files of a folder, sorted; none if the folder does not exist.
fn public_keys(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
    paths.sort();
    paths
}
