//! Published releases for provisioning new machines: verified as a machine would, and fetched into image files.

use std::path::Path;

use release::{Digest, Release, Version};
use tuf::{MemoryStore, Root, Trusted, role_type};
use update_core::method::Method;
use update_core::repository::ChannelTarget;
use update_core::roots::{self, Clock};
use update_core::trust::{Anchor, RootInForce, TrustState, UpdateOptions, VerifyContext, verify_release};
use update_worker::Isolation;

use crate::attempt::{now, rejected};
use crate::channel::refresh;
use crate::error::{Failure, Kind};
use crate::fill::{Delivery, Slot, Targets, fill, verify_images, write_failed};
use crate::found::{fetch_release, listed_by_digest, listed_by_version, targets_of};
use crate::http::RetryPolicy;
use crate::observer::Observer;
use crate::origin::Origin;
use crate::trust_store::{client, refused};

/// Properties of the new machine.
#[derive(Debug, Clone, Copy)]
pub struct MachineSpec<'a> {
    /// The product: a UUID in braces.
    pub appid: &'a str,
    pub board: &'a str,
    pub channel: &'a str,
}

/// A verified release and its source.
pub struct PublishedRelease {
    pub release: Release,
    origin: Origin,
    isolation: Isolation,
}

/// Image files of a release.
#[derive(Debug, Clone, Copy)]
pub struct ImageFiles<'a> {
    pub usr: &'a Path,
    pub verity: &'a Path,
    pub uki: &'a Path,
}

/// A client without a history, which trusts the root in `root`.
fn fresh_store(root: &[u8]) -> MemoryStore {
    MemoryStore([(role_type::ROOT.to_owned(), root.to_vec())].into())
}

/// The name of the newest targets metadata in a folder.
fn newest_targets(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let version = |name: String| name.strip_suffix(".targets.json")?.parse::<u64>().ok();
    let newest = entries.filter_map(|entry| version(entry.file_name().into_string().ok()?)).max();
    tuf::metadata_file(role_type::TARGETS, newest)
}

fn clock() -> Clock {
    Clock { now: now(), build_time: 0 }
}

/// The verified metadata of a server, and what a channel has.
pub(crate) struct Newest {
    pub trusted: Trusted,
    channel: Option<ChannelTarget>,
}

/// Fetches and verifies the metadata. `files` is the URL of the application's files, without a final slash.
pub(crate) fn newest(
    files: &str,
    spec: MachineSpec<'_>,
    root: &[u8],
    retry: RetryPolicy,
    isolation: &Isolation,
) -> Result<Newest, Failure> {
    let metadata = Origin::at_url(&format!("{files}/metadata/"), retry, isolation);
    let mut client = client(&metadata, fresh_store(root), clock());
    let (trusted, channel) = refresh(&mut client, spec.channel, spec.board)?;
    Ok(Newest { trusted, channel })
}

impl PublishedRelease {
    /// The current release of a channel. `files` is the URL of the application's files, `root` the trusted root file. With
    /// `version` that release, whether or not the channel has it.
    pub fn from_server(
        files: &str,
        version: Option<&Version>,
        spec: MachineSpec<'_>,
        root: &[u8],
        retry: RetryPolicy,
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        let files = files.trim_end_matches('/');
        let newest = newest(files, spec, root, retry, isolation)?;
        Self::of_newest(files, &newest, version, spec, (retry, isolation))
    }

    /// The release of a channel, or `version`, of verified metadata.
    pub(crate) fn of_newest(
        files: &str,
        newest: &Newest,
        version: Option<&Version>,
        spec: MachineSpec<'_>,
        (retry, isolation): (RetryPolicy, &Isolation),
    ) -> Result<Self, Failure> {
        let Newest { trusted, channel } = newest;
        let (version, channel) = match (version, channel) {
            (Some(version), _) => (version.clone(), None),
            (None, Some(channel)) => (channel.version.clone(), Some(channel)),
            (None, None) => {
                let message = format!("channel {} has no version for {}", spec.channel, spec.board);
                return Err(Failure::text(Kind::Transient, omaha::ErrorCode::DOWNLOAD_TRANSFER, message));
            }
        };
        let listed = listed_by_version(&trusted.targets, spec.board, &version)?;
        let origin = Origin::at_url(&format!("{files}/{}/{version}/", spec.channel), retry, isolation);
        let bytes = fetch_release(&origin)?;
        Self::verified(origin, &bytes, (listed, channel, &trusted.root), spec, isolation)
    }

    /// The release in a folder, whose metadata is in the folder `metadata`: roots, and `targets.json` or, as a server stores it,
    /// the newest `N.targets.json`. The caller vouches for their freshness.
    pub fn from_folder(
        folder: &Path,
        metadata: &Path,
        spec: MachineSpec<'_>,
        root: &[u8],
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        let (origin, metadata_origin) =
            (Origin::Folder(folder.to_owned()), Origin::Folder(metadata.to_owned()));
        let root = client(&metadata_origin, fresh_store(root), clock()).update_root().map_err(refused)?;
        let name = newest_targets(metadata);
        let targets = targets_of(&metadata_origin, &name, &root, clock())?;
        let bytes = fetch_release(&origin)?;
        let listed = listed_by_digest(&targets, &bytes)?;
        Self::verified(origin, &bytes, (listed, None, &root), spec, isolation)
    }

    fn verified(
        origin: Origin,
        bytes: &[u8],
        (listed, channel, root): (&tuf::TargetFile, Option<&ChannelTarget>, &Root),
        spec: MachineSpec<'_>,
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        let context = VerifyContext {
            appid: spec.appid,
            board: spec.board,
            channel: spec.channel,
            running: None,
            clock: clock(),
            root: RootInForce { anchor: Anchor::Image, version: roots::version(root) },
            state: TrustState::default(),
            bans: &[],
            options: UpdateOptions::default(),
        };
        let accepted =
            verify_release(bytes, listed, channel, &context).map_err(|refusal| rejected(&refusal))?;
        Ok(Self { release: accepted.release, origin, isolation: isolation.clone() })
    }

    /// Fetches the images and reads them back. Reuses correct data in the files, so it resumes interrupted fetches
    /// and repairs damage.
    pub fn fetch(&self, to: ImageFiles<'_>, observer: &dyn Observer) -> Result<(), Failure> {
        let method = Method::Full(&self.release.full);
        observer.found(&self.release.version.to_string(), method.payload().blob.size);
        let delivery = Delivery { origin: &self.origin, isolation: &self.isolation, resume: true };
        self.with_targets(to, |targets| fill(&self.release, method, delivery, targets, observer))
    }

    /// Verifies the files against the release.
    pub fn verify(&self, files: ImageFiles<'_>, observer: &dyn Observer) -> Result<(), Failure> {
        self.with_targets(files, |targets| verify_images(&self.release, targets, observer))
    }

    /// Identifies the images on the disk.
    #[must_use]
    pub fn root_hash(&self) -> Digest {
        self.release.images.verity.root_hash
    }

    fn with_targets(
        &self,
        files: ImageFiles<'_>,
        act: impl FnOnce(&Targets<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let images = &self.release.images;
        let tree = payload::verity::tree_bytes(images.usr.size);
        let open = |path: &Path, bytes: u64| {
            Slot::file(path, bytes).map_err(|error| write_failed(&path.display().to_string(), &error))
        };
        let (usr, verity) = (open(files.usr, images.usr.size)?, open(files.verity, tree)?);
        act(&Targets { usr: &usr, verity: &verity, uki: files.uki, old: None })
    }
}
