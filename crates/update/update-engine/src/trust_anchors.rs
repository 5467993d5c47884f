//! Trust anchors: the image's keys, the roots that superseded them, and the operator's keys.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use omaha::ErrorCode;
use tuf::{Cause, Root};
use update_core::roots::{self, Clock, MAX_STEPS, follow, newer, replay};
use update_core::trust::{ActiveRoot, RoleKeys, TrustAnchors, TrustState};

use crate::attempt::{Updater, now, state_failed};
use crate::error::{Failure, Kind, code};
use crate::origin::Origin;
use crate::settings::Settings;

/// Contain `release/*.pub` and `channel/*.pub`; the first one may contain a root, too.
const VENDOR: &str = "usr/share/keelson/keys";
const LOCAL: &str = "etc/keelson/keys.d";

#[derive(Debug, thiserror::Error)]
enum ImageRootError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}, the root of the image, is invalid")]
    Damaged { path: PathBuf, source: Cause },
}

impl Updater {
    /// The root in force: the image's, or the last of the accepted ones that it leads to. `None` if the image contains
    /// single keys. The image's is protected by dm-verity; the others are verified at each read.
    ///
    /// # Errors
    /// A root cannot be read or is invalid, so the trusted keys are unknown.
    pub fn trusted_root(&self) -> Result<Option<Root>, Failure> {
        let Some(image) = image_root(&self.paths.at(VENDOR))? else { return Ok(None) };
        let accepted = self.state.roots_after(roots::version(&image)).map_err(state_failed)?;
        let last = replay(&image, &accepted).map_err(|why| state_failed(self.state.invalid_roots(why)))?;
        Ok(Some(last))
    }

    /// Verifies and persists the roots that follow the one in force, as far as `origin` has them. Without a root in force
    /// it does nothing.
    ///
    /// # Errors
    /// A root is rejected or cannot be fetched. The current one stays in force.
    pub(crate) fn follow_roots(&self, origin: &Origin) -> Result<(), Failure> {
        let Some(trusted) = self.trusted_root()? else { return Ok(()) };
        let first = roots::version(&trusted).saturating_add(1);
        let mut chain = Vec::new();
        for version in (first..).take(MAX_STEPS) {
            let Some(bytes) = origin.metadata_if_exists(&roots::file(version))? else { break };
            chain.push(bytes);
        }
        let clock = Clock { now: now(), build_time: self.identity.build_time };
        let last = follow(&trusted, &chain, clock)
            .map_err(|refusal| Failure::new(Kind::Rejected, ErrorCode::PAYLOAD_PUBLIC_KEY, &refusal))?;
        self.state.add_roots(first, &chain).map_err(state_failed)?;
        // The image's root, too: after a rollback to an older image, the keys that it revoked stay revoked.
        let version = roots::version(&last);
        let record = |state: &mut TrustState| *state = state.valid_under(version);
        self.state.update_trust_state(record).map_err(state_failed)?;
        if !chain.is_empty() {
            tracing::info!(version, "root version {version} is now in force");
        }
        Ok(())
    }

    /// The keys of the image or of the root, and the operator's if enabled.
    pub(crate) fn authorities(&self, settings: &Settings) -> Result<TrustAnchors, Failure> {
        let mut authorities = anchors_of(self.trusted_root()?, &[self.paths.at(VENDOR)])?;
        if settings.allow_local_keys {
            add_signers(&mut authorities.local, &self.paths.at(LOCAL))?;
        }
        Ok(authorities)
    }
}

/// The trust anchors of a machine whose image contains `folders`, under the root `root`.
///
/// # Errors
/// Keys or a root cannot be read.
pub fn trust_anchors_of(folders: &[PathBuf], mut root: Option<Root>) -> Result<TrustAnchors, Failure> {
    for folder in folders {
        root = newer(image_root(folder)?, root);
    }
    anchors_of(root, folders)
}

/// With a root only its keys count.
fn anchors_of(root: Option<Root>, folders: &[PathBuf]) -> Result<TrustAnchors, Failure> {
    let mut authorities = TrustAnchors::default();
    match &root {
        Some(root) => authorities.vendor = RoleKeys::of(root),
        None => folders.iter().try_for_each(|folder| add_signers(&mut authorities.vendor, folder))?,
    }
    authorities.root = root.as_ref().map(ActiveRoot::of);
    Ok(authorities)
}

fn image_root(folder: &Path) -> Result<Option<Root>, Failure> {
    let path = folder.join(roots::FILE);
    let found = match fs::read(&path) {
        Ok(bytes) => match Root::first(&bytes) {
            Ok(root) => Ok(Some(root)),
            Err(source) => Err(ImageRootError::Damaged { path, source }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageRootError::Read { path, source }),
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
