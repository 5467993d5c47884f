//! Published releases for provisioning new machines: verified as a machine would, and fetched into image files.

use std::path::Path;

use release::{Digest, Release, Version, files};
use update_core::method::Method;
use update_core::trust::{
    Offer, TrustAnchors, TrustState, UpdateOptions, VerifyContext, verify_offer, verify_timestamp,
};
use update_worker::Isolation;

use crate::attempt::{fetch_offer, now, rejected};
use crate::error::Failure;
use crate::fill::{Delivery, Slot, Targets, fill, verify_images, write_failed};
use crate::http::RetryPolicy;
use crate::observer::Observer;
use crate::origin::Origin;

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

/// The context of a machine without a history.
fn context_of(spec: MachineSpec<'_>) -> VerifyContext<'_> {
    VerifyContext {
        appid: spec.appid,
        board: spec.board,
        channel: spec.channel,
        running: None,
        now: now(),
        build_time: 0,
        state: TrustState::default(),
        bans: &[],
        options: UpdateOptions::default(),
    }
}

impl PublishedRelease {
    /// The current release of a channel. `files` is the URL of the application's files. With `version` that release,
    /// whether or not the channel points to it.
    pub fn from_server(
        files: &str,
        version: Option<&Version>,
        spec: MachineSpec<'_>,
        keys: &TrustAnchors,
        retry: RetryPolicy,
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        let base = format!("{}/{}/", files.trim_end_matches('/'), spec.channel);
        let at = |version: &Version| Origin::at_url(&format!("{base}{version}/"), retry, isolation);
        if let Some(version) = version {
            return Self::verified(at(version), None, spec, keys, isolation);
        }
        let channel = Origin::at_url(&base, retry, isolation);
        let timestamp = channel.metadata(files::TIMESTAMP)?;
        let signature = channel.metadata(files::TIMESTAMP_SIGNATURE)?;
        let signature = String::from_utf8_lossy(&signature).into_owned();
        // It determines the URL. Verified again with the release, whose digest it has.
        let current = verify_timestamp(&timestamp, &signature, keys, &context_of(spec))
            .map_err(|refusal| rejected(&refusal))?;
        let timestamp = Some((timestamp, signature));
        Self::verified(at(&current.timestamp.version), timestamp, spec, keys, isolation)
    }

    /// The release in a folder. The caller vouches for its freshness.
    pub fn from_folder(
        folder: &Path,
        spec: MachineSpec<'_>,
        keys: &TrustAnchors,
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        Self::verified(Origin::Folder(folder.to_owned()), None, spec, keys, isolation)
    }

    fn verified(
        origin: Origin,
        timestamp: Option<(Vec<u8>, String)>,
        spec: MachineSpec<'_>,
        keys: &TrustAnchors,
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        let offer = Offer { timestamp, ..fetch_offer(&origin, false)? };
        let accepted = verify_offer(&offer, keys, &context_of(spec)).map_err(|refusal| rejected(&refusal))?;
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
