//! Published releases for provisioning new machines: verified as a machine would, and fetched into image files.

use std::path::Path;

use release::{Digest, Release, Timestamp, Version, files};
use update_core::method::Method;
use update_core::trust::{Authorities, Facts, Offer, Refusal, Seen, Wish, judge};

use crate::attempt::{not_taken, now, offer};
use crate::error::Failure;
use crate::fill::{Slot, Targets, fill, read_all, write_failed};
use crate::origin::Origin;
use crate::watch::Watch;
use crate::web::Patience;

/// Properties of the new machine.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The product: a UUID in braces.
    pub appid: &'a str,
    pub board: &'a str,
    pub channel: &'a str,
}

/// A verified release and its source.
pub struct Published {
    pub release: Release,
    origin: Origin,
}

/// Image files of a release.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    pub usr: &'a Path,
    pub verity: &'a Path,
    pub uki: &'a Path,
}

impl Published {
    /// The current release of a channel. `files` is the URL of the application's files. With `version` that release,
    /// whether or not the channel points to it.
    pub fn of_server(
        files: &str,
        version: Option<&Version>,
        asked: Asked<'_>,
        keys: &Authorities,
        patience: Patience,
    ) -> Result<Self, Failure> {
        let base = format!("{}/{}/", files.trim_end_matches('/'), asked.channel);
        let at = |version: &Version| Origin::at_url(&format!("{base}{version}/"), patience);
        if let Some(version) = version {
            return Self::judged(at(version), None, asked, keys);
        }
        let channel = Origin::at_url(&base, patience);
        let word = channel.metadata(files::TIMESTAMP)?;
        let signature = channel.metadata(files::TIMESTAMP_SIGNATURE)?;
        let signature = String::from_utf8_lossy(&signature).into_owned();
        // It determines the URL. Its content is verified with the rest.
        let refused = |why| not_taken(&Refusal::Signature { file: files::TIMESTAMP, why });
        keys.channel_word(&word, &signature).map_err(refused)?;
        let told = Timestamp::parse(&word).map_err(|error| not_taken(&error.into()))?;
        Self::judged(at(&told.version), Some((word, signature)), asked, keys)
    }

    /// The release in a folder. The caller vouches for its freshness.
    pub fn of_folder(folder: &Path, asked: Asked<'_>, keys: &Authorities) -> Result<Self, Failure> {
        Self::judged(Origin::Folder(folder.to_owned()), None, asked, keys)
    }

    fn judged(
        origin: Origin,
        timestamp: Option<(Vec<u8>, String)>,
        asked: Asked<'_>,
        keys: &Authorities,
    ) -> Result<Self, Failure> {
        let offer = Offer { timestamp, ..offer(&origin, false)? };
        let facts = Facts {
            appid: asked.appid,
            board: asked.board,
            channel: asked.channel,
            running: None,
            now: now(),
            build_time: 0,
            seen: Seen::default(),
            bans: &[],
            wish: Wish::default(),
        };
        let accepted = judge(&offer, keys, &facts).map_err(|refusal| not_taken(&refusal))?;
        Ok(Self { release: accepted.release, origin })
    }

    /// Fetches the images and reads them back. Reuses correct data in the files, so it resumes interrupted fetches
    /// and repairs damage.
    pub fn fetch(&self, to: Files<'_>, watch: &dyn Watch) -> Result<(), Failure> {
        let method = Method::Full(&self.release.full);
        watch.found(&self.release.version.to_string(), method.payload().blob.size);
        self.with(to, |targets| fill(&self.release, method, &self.origin, targets, true, watch))
    }

    /// Verifies the files against the release.
    pub fn verify(&self, files: Files<'_>, watch: &dyn Watch) -> Result<(), Failure> {
        self.with(files, |targets| read_all(&self.release, targets, watch))
    }

    /// Identifies the images on the disk.
    #[must_use]
    pub fn root_hash(&self) -> Digest {
        self.release.images.verity.root_hash
    }

    fn with(
        &self,
        files: Files<'_>,
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
