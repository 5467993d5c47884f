//! Images of a channel's versions: downloaded, verified as a machine verifies them, and laid out as bootable disks.
//! Unsigned data is never used.
//!
//! Downloads are kept in the user's cache for all clusters and verified before each use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use channel_server::ReleaseFolderError;
use image::build::locked_tools::{LockedTools, tools};
use image::build::{Options, user_cache};
use image::disk::{BOOT_LOADER, Layout};
use image::disk_full::DiskFull;
use image::prebuilt;
use image::release::Release;
use image::work::{Key, Work};
use machines::cluster::BackendKind;
use machines::image::Image;
use progress::Step;
use release::Version;
use release_folder::latest_complete;
use tuf::Root;
use update_core::roots::{FILE, file, version};
use update_engine::{
    Failure, ImageFiles, Isolation, Kind, MachineSpec, Observer, Operation, PublishedRelease, RetryPolicy,
};

use crate::boot_image::{keep, keep_tree, mounts_erofs};
use crate::checkout::{checkout, find_checkout};
use crate::context::Context;
use crate::update_server::{FOLDER, Source};
use crate::verbs::keys::location;

/// Folder in the user's cache.
const CACHE: &str = "channels";
/// Marker in a download's folder: all files were complete once.
const COMPLETE: &str = "whole";
/// The application's name in a server's URLs.
const APP: &str = "keelson";
const PATIENCE: RetryPolicy =
    RetryPolicy { attempts: 3, pause: Duration::from_secs(1), limit: Duration::from_secs(24 * 3600) };

/// Which image of a channel to find.
#[derive(Debug, Clone, Copy)]
pub struct ChannelImageRequest<'a> {
    pub channel: &'a str,
    /// A specific version instead of the channel's current one.
    pub version: Option<&'a str>,
    /// `None` uses a server on this machine if it has a version of the channel.
    pub server: Option<&'a Source>,
    /// Folder with the trusted root.
    pub keys: Option<&'a Path>,
    pub on: BackendKind,
    pub keep_in: &'a Path,
}

#[derive(Debug, thiserror::Error)]
pub enum ChannelImageError {
    #[error("cannot read channel {channel} of {server}")]
    Server { channel: String, server: String, source: Failure },
    #[error("cannot read channel {channel} of {server}")]
    Folder { channel: String, server: String, source: Box<ReleaseFolderError> },
    #[error("interrupted; the same command resumes the download")]
    Interrupted,
}

impl ChannelImageError {
    /// A suggestion for the user.
    pub fn hint(&self) -> Option<String> {
        let publish = |channel: &str| {
            format!(
                "keelson channel list shows the published versions, keelson publish --channel {channel} VERSION publishes one"
            )
        };
        match self {
            Self::Server { source, .. } if source.is_signature() => Some(
                "--keys DIR sets the folder of the trusted root (N.root.json or root.json); the default is the newest of \
                 `keelson keys` and of this checkout"
                    .to_owned(),
            ),
            Self::Server { channel, source, .. } if source.http_status == Some(404) => {
                Some(publish(channel))
            }
            Self::Server { source, .. } if matches!(source.kind, Kind::Transient | Kind::Busy) => Some(
                "keelson serve-updates starts a server, --update-server selects another; without --channel, keelson up builds \
                 this checkout"
                    .to_owned(),
            ),
            Self::Folder { channel, source, .. } => match **source {
                ReleaseFolderError::NoRelease(_) => Some(publish(channel)),
                ReleaseFolderError::Elsewhere { .. } => Some("set --update-server to the URL of this server".to_owned()),
                ReleaseFolderError::Store(_) => {
                    Some("set --update-server to a URL, or to the folder that serve-updates has as --data".to_owned())
                }
                ReleaseFolderError::Name { .. } => None,
            },
            Self::Server { .. } | Self::Interrupted => None,
        }
    }
}

/// The data folder of a server with default settings, if it has a version of the channel.
fn default_source(context: &Context, appid: &str, request: ChannelImageRequest<'_>) -> Option<Source> {
    let data = context.state_dir.join(FOLDER);
    // The database is created by the first server.
    if !data.join("database").is_dir() {
        return None;
    }
    match channel_server::release_folder(&data, appid, request.channel, None) {
        Ok(_) => Some(Source::Folder(data)),
        Err(ReleaseFolderError::NoRelease(_)) => None,
        Err(error) => {
            let why = service::error::chain(&error);
            context
                .progress
                .note(&format!("warning: ignoring the channel server in {}: {why}", data.display()));
            None
        }
    }
}

fn published(
    source: &Source,
    query: MachineSpec<'_>,
    version: Option<&Version>,
    root: &[u8],
) -> Result<PublishedRelease, ChannelImageError> {
    let (channel, server) = (query.channel.to_owned(), source.name());
    let isolation = Isolation::own_program();
    let found = match source {
        Source::Url(url) => PublishedRelease::from_server(
            &format!("{url}/files/{APP}"),
            version,
            query,
            root,
            PATIENCE,
            &isolation,
        ),
        Source::Folder(data) => match server_folders(data, query.appid, &channel, version) {
            Ok((folder, metadata)) => {
                PublishedRelease::from_folder(&folder, &metadata, query, root, &isolation)
            }
            Err(error) => return Err(ChannelImageError::Folder { channel, server, source: Box::new(error) }),
        },
    };
    found.map_err(|source| ChannelImageError::Server { channel, server, source })
}

/// The folders of a release and of its metadata in a server's data folder.
fn server_folders(
    data: &Path,
    appid: &str,
    channel: &str,
    version: Option<&Version>,
) -> Result<(PathBuf, PathBuf), ReleaseFolderError> {
    let release = channel_server::release_folder(data, appid, channel, version)?;
    Ok((release, channel_server::metadata_folder(data, appid)?))
}

/// The image of the channel's version; `None` if no known server has one.
pub fn find(
    context: &Context,
    request: ChannelImageRequest<'_>,
    cancel: &Arc<AtomicBool>,
) -> anyhow::Result<Option<Image>> {
    let given = request.server.cloned();
    let Some(checkout) = find_checkout()? else {
        return match given {
            // Laying out disks needs the checkout's files and tools.
            Some(_) => checkout().map(|_| None),
            None => Ok(None),
        };
    };
    let about = Release::read(&checkout.join("os/release.toml"))?;
    let source = given.or_else(|| default_source(context, &about.update.appid, request));
    let Some(source) = source else { return Ok(None) };
    image::release::check_channel(request.channel)?;
    let version = request.version.map(str::parse::<Version>).transpose().context("$image_version")?;
    let query = MachineSpec { appid: &about.update.appid, board: &about.board, channel: request.channel };
    let published = published(&source, query, version.as_ref(), &trusted_root(request.keys, &checkout)?)?;
    let options = Options { cancel: Arc::clone(cancel), ..Options::for_checkout(&checkout) };
    let tools = tools(&options, context.progress)?;
    let folder = user_cache().join(CACHE);
    let work = Work::open(&folder, cancel, |holder| {
        context.progress.note(&format!("waiting for {holder}, which fetches into {}", folder.display()));
    })?;
    let step = context.progress.step("image");
    let builder = ImageBuilder {
        checkout: &checkout,
        about: &about,
        tools: &tools,
        work: &work,
        published: &published,
    };
    let result = builder.image(request, cancel, &step, &source);
    let (image, origin) =
        result.map_err(|error| with_disk_full_context(error, &[&folder, request.keep_in]))?;
    step.done(&format!("{} of {}, published at {} ({origin})", image.version, image.channel, source.name()));
    Ok(Some(image))
}

/// Adds the full disk to an out-of-space error.
fn with_disk_full_context(error: anyhow::Error, folders: &[&Path]) -> anyhow::Error {
    let folders: Vec<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    match DiskFull::from_error(error.as_ref(), &folders) {
        Some(full) => error.context(full),
        None => error,
    }
}

/// The bytes of the trusted root: the newest in `keys`, or of the user's own and the one that the checkout's images trust.
pub fn trusted_root(keys: Option<&Path>, checkout: &Path) -> anyhow::Result<Vec<u8>> {
    let folders: Vec<_> = match keys {
        Some(folder) => vec![folder.to_path_buf()],
        None => location::folder().into_iter().chain([checkout.join(location::PINNED)]).collect(),
    };
    let mut found = Vec::new();
    for folder in &folders {
        let read =
            |path: PathBuf| std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()));
        if let Some(root) = latest_complete(folder)? {
            found.push((version(&root), read(folder.join(file(version(&root))))?));
        }
        // As an image has it.
        let pinned = folder.join(FILE);
        if pinned.exists() {
            let bytes = read(pinned.clone())?;
            let root = Root::first(&bytes).with_context(|| format!("invalid root {}", pinned.display()))?;
            found.push((version(&root), bytes));
        }
    }
    let newest = found.into_iter().max_by_key(|(version, _)| *version).map(|(_, bytes)| bytes);
    newest.with_context(|| {
        let names: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        format!("there is no trusted root in {} (keelson keys creates one)", names.join(" and "))
    })
}

struct ImageBuilder<'a> {
    checkout: &'a Path,
    about: &'a Release,
    tools: &'a LockedTools,
    work: &'a Work,
    published: &'a PublishedRelease,
}

impl ImageBuilder<'_> {
    /// Returns the image and a description of its origin.
    fn image(
        &self,
        request: ChannelImageRequest<'_>,
        cancel: &AtomicBool,
        step: &Step,
        source: &Source,
    ) -> anyhow::Result<(Image, String)> {
        let release = &self.published.release;
        let (hash, uki_digest) =
            (self.published.root_hash().to_string(), release.images.uki.sha256.to_string());
        let key = Key::new("published").with(&release.version.to_string()).with(&hash).with(&uki_digest);
        let folder = self.work.resumable("images", &key)?;
        let [usr, verity, uki] = ["usr.erofs", "usr.verity", "uki.efi"].map(|name| folder.join(name));
        let progress_watch = FetchProgress { step, cancel, version: release.version.to_string() };
        let failed = |failure: Failure| match failure.kind {
            Kind::Cancelled => ChannelImageError::Interrupted,
            _ => {
                let (channel, server) = (request.channel.to_owned(), source.name());
                ChannelImageError::Server { channel, server, source: failure }
            }
        };
        let files = ImageFiles { usr: &usr, verity: &verity, uki: &uki };
        let complete = folder.join(COMPLETE);
        let origin = self.fetch(files, complete.exists(), &progress_watch).map_err(failed)?;
        // Only an optimization: existing files are verified against the signature.
        File::create(&complete).with_context(|| format!("cannot write {}", complete.display()))?;
        step.set("building the disk image");
        let tools = prebuilt::sandbox(&self.tools.path, &[self.checkout, self.work.folder()])?;
        // The boot image's name does not contain the version's mark.
        let Version { major, minor, patch, .. } = release.version;
        let (full_version, version) =
            (progress_watch.version.clone(), Version::new(major, minor, patch).to_string());
        let layout = Layout {
            checkout: self.checkout,
            id: &self.about.id,
            version: &version,
            full_version: &full_version,
            epoch: release.build_time,
            root_hash: &hash,
            channel: request.channel,
            usr: &usr,
            verity: &verity,
            uki: &uki,
            loader: &self.tools.path.join(BOOT_LOADER),
            // Channels provide no signed boot loader and no keys: their images do not support Secure Boot.
            keys: None,
            oem: None,
            size: None,
            tools: &tools,
        };
        let tools_key = self.tools.path.file_name().unwrap_or_default().to_string_lossy();
        let raw = prebuilt::disk(&layout, key.clone().with(&tools_key), self.work)?;
        let usr_tree = match request.on == BackendKind::Nspawn && !mounts_erofs() {
            true => keep_tree(&prebuilt::usr_tree(&usr, &key, &tools, self.work)?, request.keep_in)?,
            false => folder.join("usr"),
        };
        if cancel.load(Ordering::Relaxed) {
            return Err(ChannelImageError::Interrupted.into());
        }
        let image = Image {
            version: full_version.clone(),
            channel: request.channel.to_owned(),
            raw: keep(&raw, request.keep_in)?,
            usr_tree,
            usr_erofs: keep(&usr, request.keep_in)?,
            tools: keep_tree(&self.tools.path, request.keep_in)?,
        };
        Ok((image, origin))
    }

    /// Ensures that the files exist and match the signature.
    fn fetch(
        &self,
        files: ImageFiles<'_>,
        was_complete: bool,
        progress_watch: &FetchProgress<'_>,
    ) -> Result<String, Failure> {
        if was_complete {
            progress_watch.step.set("verifying the cached files");
            match self.published.verify(files, progress_watch) {
                Ok(()) => return Ok("cache".to_owned()),
                Err(failure) if failure.kind == Kind::Cancelled => return Err(failure),
                Err(_) => {
                    self.published.fetch(files, progress_watch)?;
                    return Ok("damaged files in the cache fetched again".to_owned());
                }
            }
        }
        self.published.fetch(files, progress_watch)?;
        Ok(format!("{} MiB", self.published.release.full.blob.size >> 20))
    }
}

struct FetchProgress<'a> {
    step: &'a Step,
    cancel: &'a AtomicBool,
    version: String,
}

impl Observer for FetchProgress<'_> {
    fn operation(&self, operation: Operation) {
        if operation == Operation::Verifying {
            self.step.set(format!("verifying {}", self.version));
        }
    }

    fn found(&self, _: &str, _: u64) {}

    fn progress(&self, done: u64, total: u64) {
        self.step.set(format!("fetching {}, {} of {} MiB", self.version, done >> 20, total >> 20));
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}
