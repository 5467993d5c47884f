//! Releases, and the targets metadata that lists them.

use omaha::ErrorCode;
use release::{MAX_RELEASE, Version, files};
use tuf::{Root, TargetFile, Targets};
use update_core::repository::{ChannelTarget, MAX_TARGETS, RepositoryError, TARGETS_FILE, release_target};
use update_core::roots::Clock;
use update_core::trust::RootInForce;

use crate::error::{Failure, Kind};
use crate::origin::Origin;
use crate::trust_store::refused;

/// A release to verify.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a> {
    /// Of `release.json`.
    pub bytes: &'a [u8],
    /// As targets metadata lists it.
    pub listed: &'a TargetFile,
    /// What the machine's channel has; `None` for a release from a file.
    pub channel: Option<&'a ChannelTarget>,
    /// The root that leads to `listed`.
    pub root: RootInForce,
}

/// Fetches `release.json`.
pub(crate) fn fetch_release(origin: &Origin) -> Result<Vec<u8>, Failure> {
    let release = origin.file(files::RELEASE, MAX_RELEASE as u64)?;
    if release.trim_ascii_start().starts_with(b"{") {
        return Ok(release);
    }
    let begin: String = String::from_utf8_lossy(&release).chars().take(200).collect();
    let message = format!("release.json is not JSON (a captive portal?), it starts with {begin:?}");
    Err(Failure::text(Kind::Transient, ErrorCode::DOWNLOAD_TRANSFER, message))
}

/// The targets metadata of a release folder or bundle.
pub(crate) fn bundled_targets(origin: &Origin, root: &Root, clock: Clock) -> Result<Targets, Failure> {
    targets_of(origin, TARGETS_FILE, root, clock)
}

/// The targets metadata in the file `name`.
pub(crate) fn targets_of(origin: &Origin, name: &str, root: &Root, clock: Clock) -> Result<Targets, Failure> {
    let bytes = origin.file(name, MAX_TARGETS as u64)?;
    let targets = root.targets(&bytes, clock.for_tuf());
    targets.map_err(|cause| refused(tuf::Error { file: name.to_owned(), cause }))
}

/// The target that has these bytes: of a release from a file, whose version is not known before.
pub(crate) fn listed_by_digest<'a>(targets: &'a Targets, release: &[u8]) -> Result<&'a TargetFile, Failure> {
    let found = targets.targets.values().find(|listed| listed.verify(release).is_ok());
    found.ok_or_else(|| {
        let message =
            "targets.json does not list this release.json: its release key did not sign it".to_owned();
        Failure::text(Kind::Rejected, ErrorCode::PAYLOAD_PUBLIC_KEY, message)
    })
}

/// The target of a version.
pub(crate) fn listed_by_version<'a>(
    targets: &'a Targets,
    board: &str,
    version: &Version,
) -> Result<&'a TargetFile, Failure> {
    targets.targets.get(&release_target(board, version)).ok_or_else(|| {
        let refusal = RepositoryError::NotListed { version: version.clone(), board: board.to_owned() };
        Failure::new(Kind::Rejected, ErrorCode::PAYLOAD_PUBLIC_KEY, &refusal)
    })
}
