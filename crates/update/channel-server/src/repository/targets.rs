//! `targets.json`: the releases that the release keys list.

use std::path::PathBuf;
use std::{fmt, io};

use bytes::Bytes;
use rollout::{Application, Package};
use semver::Version;
use tuf::{Cause, MetadataError, Mismatch, Root, Signed, Targets};
use update_core::repository::{MAX_TARGETS, images_target, release_target};
use update_core::roots;

use crate::roots::signed_part;

/// Why a release is not one that the release keys list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListedError {
    #[error("there is no root: publish the root first: keelson keys publish")]
    NoRoot,
    #[error("there is no targets.json: publish it first: keelson keys publish")]
    NoTargets,
    #[error("targets.json version {targets} does not list version {version} for {board}")]
    NotListed { targets: u64, version: Version, board: String },
    #[error("targets.json version {targets} does not list images of version {version} for {board}")]
    NoImages { targets: u64, version: Version, board: String },
    #[error("targets.json version {targets} lists another images.json of version {version} for {board}")]
    OtherImages { targets: u64, version: Version, board: String },
    #[error("targets.json version {targets} lists another release.json of version {version} for {board}")]
    Other {
        targets: u64,
        version: Version,
        board: String,
        #[source]
        why: Box<Mismatch>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    #[error("cannot access {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is damaged: the snapshot lists it, but the newest root does not verify it")]
    Damaged(PathBuf),
    #[error("targets.json has {0} bytes; the maximum is {MAX_TARGETS}")]
    TooLong(usize),
    #[error("malformed targets.json")]
    Malformed(#[from] MetadataError),
    #[error("there is no root: publish the root first: keelson keys publish")]
    NoRoot,
    #[error("machines would reject targets.json version {0}")]
    Refused(u64, #[source] Cause),
    #[error("targets.json version {found} is older than {stored}, the published one")]
    Older { found: u64, stored: u64 },
    #[error("targets.json version {0} is already published with other content: increase the version")]
    AlreadyPublished(u64),
    #[error("targets.json version {version} does not list published releases: {dropped}")]
    Dropped { version: u64, dropped: Paths },
    #[error("targets.json version {version} lists other digests of published releases: {changed}")]
    Changed { version: u64, changed: Paths },
    #[error(
        "machines would reject targets.json version {targets} under root version {root}: publish a new \
         targets.json with the root"
    )]
    RootAlone {
        targets: u64,
        root: u64,
        #[source]
        why: Cause,
    },
}

/// Target paths in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths(Vec<String>);

/// In a message. The rest is a number.
const SHOWN: usize = 10;

impl fmt::Display for Paths {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> = self.0.iter().take(SHOWN).map(String::as_str).collect();
        to.write_str(&shown.join(", "))?;
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(to, " and {more} more"),
        }
    }
}

/// Targets metadata in memory, with its original bytes.
#[derive(Debug, Clone)]
pub struct StoredTargets {
    pub targets: Targets,
    pub bytes: Bytes,
}

impl StoredTargets {
    pub fn version(&self) -> u64 {
        self.targets.header.version.get()
    }
}

/// A release of the state, or its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRelease {
    path: String,
    sha256: String,
}

/// The releases of an application, and their images.
pub fn published(app: &Application) -> Vec<PublishedRelease> {
    let release = |package: &Package| {
        let sha256 = package.release_sha256.clone()?;
        Some(PublishedRelease { path: release_target(&package.board, &package.version), sha256 })
    };
    let images = |package: &Package| {
        let sha256 = package.images.as_ref()?.list.sha256.clone();
        Some(PublishedRelease { path: images_target(&package.board, &package.version), sha256 })
    };
    let packages = app.packages.values();
    packages.clone().filter_map(release).chain(packages.filter_map(images)).collect()
}

/// The digest that targets list for a path.
fn sha256<'a>(targets: &'a Targets, path: &str) -> Option<&'a str> {
    targets.targets.get(path)?.hashes.0.get("sha256").map(String::as_str)
}

/// Whether `targets` list the release with these bytes.
///
/// # Errors
/// They do not, or another one.
pub fn check_listed(
    targets: &Targets,
    board: &str,
    version: &Version,
    release: &[u8],
) -> Result<(), ListedError> {
    let (number, version, board) = (targets.header.version.get(), version.clone(), board.to_owned());
    let Some(listed) = targets.targets.get(&release_target(&board, &version)) else {
        return Err(ListedError::NotListed { targets: number, version, board });
    };
    listed.verify(release).map_err(|why| ListedError::Other {
        targets: number,
        version,
        board,
        why: Box::new(why),
    })
}

/// Whether `targets` list the release of a package.
///
/// # Errors
/// They do not, or another one.
pub fn check_package(targets: &Targets, package: &Package) -> Result<(), ListedError> {
    let (number, version, board) =
        (targets.header.version.get(), package.version.clone(), package.board.clone());
    let found = package.release_sha256.clone().unwrap_or_default();
    match sha256(targets, &release_target(&board, &version)) {
        None => Err(ListedError::NotListed { targets: number, version, board }),
        Some(listed) if listed == found => Ok(()),
        Some(listed) => {
            let why = Box::new(Mismatch::Digest { algorithm: "sha256", found, expected: listed.to_owned() });
            Err(ListedError::Other { targets: number, version, board, why })
        }
    }
}

/// Whether `targets` list the images of a version, whose `images.json` has this SHA-256.
///
/// # Errors
/// They list none, or other ones.
pub fn check_images(
    targets: &Targets,
    board: &str,
    version: &Version,
    list_sha256: &str,
) -> Result<(), ListedError> {
    let (number, listed) = (targets.header.version.get(), sha256(targets, &images_target(board, version)));
    let (version, board) = (version.clone(), board.to_owned());
    match listed {
        Some(listed) if listed == list_sha256 => Ok(()),
        Some(_) => Err(ListedError::OtherImages { targets: number, version, board }),
        None => Err(ListedError::NoImages { targets: number, version, board }),
    }
}

/// Whether `targets` list the images of a package, if it has any.
pub fn lists_images(targets: &Targets, package: &Package) -> bool {
    let Package { board, version, images, .. } = package;
    images.as_ref().is_some_and(|images| check_images(targets, board, version, &images.list.sha256).is_ok())
}

/// Parses targets metadata that a client would accept under `root`. `now`: Unix time in seconds; 0 if expired metadata
/// counts, too.
///
/// # Errors
/// A client would not accept it.
pub fn verify(root: &Root, bytes: &[u8], now: i64) -> Result<StoredTargets, TargetsError> {
    if bytes.len() > MAX_TARGETS {
        return Err(TargetsError::TooLong(bytes.len()));
    }
    let number = Signed::<Targets>::parse(bytes)?.signed.header.version.get();
    let targets = root.targets(bytes, now).map_err(|cause| TargetsError::Refused(number, cause))?;
    Ok(StoredTargets { targets, bytes: Bytes::copy_from_slice(bytes) })
}

/// What is published, and under which root.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    pub root: Option<&'a Root>,
    pub targets: Option<&'a StoredTargets>,
    pub releases: &'a [PublishedRelease],
}

/// Targets metadata that may follow `before` under `root`. `None`: it is published already.
///
/// # Errors
/// A client would not accept it, its version does not increase, or a published release is missing.
pub fn successor(
    before: Before<'_>,
    root: &Root,
    bytes: &[u8],
    now: i64,
) -> Result<Option<StoredTargets>, TargetsError> {
    let new = verify(root, bytes, now)?;
    let version = new.version();
    if let Some(stored) = before.targets {
        let published = stored.version();
        if version < published {
            return Err(TargetsError::Older { found: version, stored: published });
        }
        if version == published {
            if signed_part(&stored.bytes)? != signed_part(bytes)? {
                return Err(TargetsError::AlreadyPublished(version));
            }
            if verify(root, &stored.bytes, 0).is_ok() {
                return Ok(None);
            }
            // It gets the signatures of another root's keys. Under the root until now it has to remain valid: until the
            // new root is stored.
            return match before.root.map(|root| verify(root, bytes, 0)) {
                Some(Ok(_)) => Ok(Some(new)),
                _ => Err(TargetsError::AlreadyPublished(version)),
            };
        }
    }
    let listed_before = |release: &&PublishedRelease| {
        before
            .targets
            .is_some_and(|stored| sha256(&stored.targets, &release.path) == Some(release.sha256.as_str()))
    };
    let paths = |releases: Vec<&PublishedRelease>| {
        Paths(releases.into_iter().map(|release| release.path.clone()).collect())
    };
    let releases = before.releases.iter();
    let changed: Vec<_> = releases
        .clone()
        .filter(|release| sha256(&new.targets, &release.path).is_some_and(|listed| listed != release.sha256))
        .collect();
    if !changed.is_empty() {
        return Err(TargetsError::Changed { version, changed: paths(changed) });
    }
    // What was published before there was a root may be missing.
    let dropped: Vec<_> = releases
        .filter(|release| sha256(&new.targets, &release.path).is_none())
        .filter(listed_before)
        .collect();
    if !dropped.is_empty() {
        return Err(TargetsError::Dropped { version, dropped: paths(dropped) });
    }
    Ok(Some(new))
}

/// Whether the published targets metadata is valid under a new root.
///
/// # Errors
/// It is not: the root needs other targets metadata.
pub fn check_under(stored: &StoredTargets, root: &Root) -> Result<(), TargetsError> {
    let (targets, version) = (stored.version(), roots::version(root));
    let valid = root.targets(&stored.bytes, 0);
    valid.map(drop).map_err(|why| TargetsError::RootAlone { targets, root: version, why })
}
