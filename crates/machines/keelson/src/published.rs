//! Images of versions that a channel has: fetched from its server, judged as a machine would judge them, and laid out as
//! disks that boot. Nothing is made of bytes that no trusted key signed.
//!
//! What was fetched is kept in the user's cache, for all clusters, and looked at before each use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use channel_server::ReleaseFolderError;
use image::build::{LockedTools, Options, tools, user_cache};
use image::disk::{BOOT_LOADER, Layout};
use image::full_disk::FullDisk;
use image::laid_out;
use image::release::Release;
use image::work::{Key, Work};
use machines::cluster::BackendKind;
use machines::image::Image;
use progress::Step;
use release::Version;
use release_folder::latest_complete;
use update_engine::{
    Failure, ImageFiles, Kind, MachineSpec, Observer, Operation, PublishedRelease, RetryPolicy, TrustAnchors,
    trust_anchors_of,
};

use crate::checkout::{checkout, find_checkout};
use crate::context::Context;
use crate::provide::{keep, keep_tree, mounts_erofs};
use crate::update_server::{FOLDER, Source};
use crate::verbs::keys::place;

/// Below the user's cache.
const CACHE: &str = "channels";
/// In the folder of fetched images: all of them were there once.
const WHOLE: &str = "whole";
/// The application in a server's addresses.
const APP: &str = "keelson";
const PATIENCE: RetryPolicy = RetryPolicy { attempts: 3, pause: Duration::from_secs(1) };

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub channel: &'a str,
    /// That version, and not the one that the channel has now.
    pub version: Option<&'a str>,
    /// Without one that of a server on this machine, if the channel has a version there.
    pub server: Option<&'a Source>,
    /// Folder with `release` and `channel`.
    pub keys: Option<&'a Path>,
    pub on: BackendKind,
    /// The cluster's folder.
    pub keep_in: &'a Path,
}

/// Why there is no image of a channel's version.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    #[error("channel {channel} of {server}")]
    Server { channel: String, server: String, source: Failure },
    #[error("channel {channel} of {server}")]
    Folder { channel: String, server: String, source: Box<ReleaseFolderError> },
    #[error("interrupted; the same command goes on where it was")]
    Interrupted,
}

impl PublishedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let publish = |channel: &str| {
            format!(
                "keelson channel list shows what is published, keelson publish --channel {channel} VERSION publishes"
            )
        };
        match self {
            Self::Server { source, .. } if source.is_signature() => Some(
                "--keys DIR names those who may sign (release/*.pub, channel/*.pub); without it those of `keelson \
                 keys` and of this checkout count"
                    .to_owned(),
            ),
            Self::Server { channel, source, .. } if source.http_status == Some(404) => {
                Some(publish(channel))
            }
            Self::Server { source, .. } if matches!(source.kind, Kind::Transient | Kind::Busy) => Some(
                "keelson serve-updates starts a server, --update-server names another; without --channel this checkout \
                 is built"
                    .to_owned(),
            ),
            Self::Folder { channel, source, .. } => match **source {
                ReleaseFolderError::NoRelease(_) => Some(publish(channel)),
                ReleaseFolderError::Elsewhere { .. } => Some("--update-server wants this server's URL".to_owned()),
                ReleaseFolderError::Store(_) => {
                    Some("--update-server wants a URL, or what --data of serve-updates names".to_owned())
                }
                ReleaseFolderError::Name { .. } => None,
            },
            Self::Server { .. } | Self::Interrupted => None,
        }
    }
}

/// The folder of a server that ran here without words, if the channel has a version there.
fn usual(context: &Context, appid: &str, wanted: Wanted<'_>) -> Option<Source> {
    let data = context.state_dir.join(FOLDER);
    // A database is made by its first server.
    if !data.join("database").is_dir() {
        return None;
    }
    match channel_server::release_folder(&data, appid, wanted.channel, None) {
        Ok(_) => Some(Source::Folder(data)),
        Err(ReleaseFolderError::NoRelease(_)) => None,
        Err(error) => {
            let why = service::error::chain(&error);
            context.progress.note(&format!("warning: {} is not looked at: {why}", data.display()));
            None
        }
    }
}

fn published(
    source: &Source,
    asked: MachineSpec<'_>,
    version: Option<&Version>,
    keys: &TrustAnchors,
) -> Result<PublishedRelease, PublishedError> {
    let (channel, server) = (asked.channel.to_owned(), source.name());
    let found = match source {
        Source::Url(url) => {
            PublishedRelease::from_server(&format!("{url}/files/{APP}"), version, asked, keys, PATIENCE)
        }
        Source::Folder(data) => match channel_server::release_folder(data, asked.appid, &channel, version) {
            Ok(folder) => PublishedRelease::from_folder(&folder, asked, keys),
            Err(error) => return Err(PublishedError::Folder { channel, server, source: Box::new(error) }),
        },
    };
    found.map_err(|source| PublishedError::Server { channel, server, source })
}

/// The image of the version that the channel has; none where no server is known that has one.
pub fn provide(
    context: &Context,
    wanted: Wanted<'_>,
    cancel: &Arc<AtomicBool>,
) -> anyhow::Result<Option<Image>> {
    let named = wanted.server.cloned();
    let Some(checkout) = find_checkout()? else {
        return match named {
            // What disks are laid out by, and with, is the checkout's.
            Some(_) => checkout().map(|_| None),
            None => Ok(None),
        };
    };
    let about = Release::read(&checkout.join("os/release.toml"))?;
    let source = named.or_else(|| usual(context, &about.update.appid, wanted));
    let Some(source) = source else { return Ok(None) };
    image::release::check_channel(wanted.channel)?;
    let version = wanted.version.map(str::parse::<Version>).transpose().context("$image_version")?;
    let asked = MachineSpec { appid: &about.update.appid, board: &about.board, channel: wanted.channel };
    let published = published(&source, asked, version.as_ref(), &authorities(wanted, &checkout)?)?;
    let options = Options { cancel: Arc::clone(cancel), ..Options::for_checkout(&checkout) };
    let tools = tools(&options, context.progress)?;
    let folder = user_cache().join(CACHE);
    let work = Work::open(&folder, cancel, |holder| {
        context.progress.note(&format!("waiting for {holder} that fetches into {}", folder.display()));
    })?;
    let step = context.progress.step("image");
    let making =
        Making { checkout: &checkout, about: &about, tools: &tools, work: &work, published: &published };
    let made = making.image(wanted, cancel, &step, &source);
    let (image, how) = made.map_err(|error| explained(error, &[&folder, wanted.keep_in]))?;
    step.done(&format!("{} of {}, published at {} ({how})", image.version, image.channel, source.name()));
    Ok(Some(image))
}

/// A full disk says which one it is.
fn explained(error: anyhow::Error, folders: &[&Path]) -> anyhow::Error {
    let folders: Vec<PathBuf> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    match FullDisk::behind(error.as_ref(), &folders) {
        Some(full) => error.context(full),
        None => error,
    }
}

/// Who may sign: those that are named, else the user's own and those that the checkout's images trust.
fn authorities(wanted: Wanted<'_>, checkout: &Path) -> anyhow::Result<TrustAnchors> {
    let folders: Vec<_> = match wanted.keys {
        Some(folder) => vec![folder.to_path_buf()],
        None => place::folder().into_iter().chain([checkout.join(place::PINNED)]).collect(),
    };
    let sets = folders.iter().map(|folder| latest_complete(folder)).collect::<Result<Vec<_>, _>>()?;
    Ok(trust_anchors_of(&folders, sets.into_iter().flatten().max_by_key(|set| set.epoch))?)
}

struct Making<'a> {
    checkout: &'a Path,
    about: &'a Release,
    tools: &'a LockedTools,
    work: &'a Work,
    published: &'a PublishedRelease,
}

impl Making<'_> {
    /// With a word about where it came from.
    fn image(
        &self,
        wanted: Wanted<'_>,
        cancel: &AtomicBool,
        step: &Step,
        source: &Source,
    ) -> anyhow::Result<(Image, String)> {
        let release = &self.published.release;
        let (hash, uki_digest) =
            (self.published.root_hash().to_string(), release.images.uki.sha256.to_string());
        let key = Key::new("published").with(&release.version.to_string()).with(&hash).with(&uki_digest);
        let folder = self.work.continued("images", &key)?;
        let [usr, verity, uki] = ["usr.erofs", "usr.verity", "uki.efi"].map(|name| folder.join(name));
        let watch = Shown { step, cancel, version: release.version.to_string() };
        let failed = |failure: Failure| match failure.kind {
            Kind::Cancelled => PublishedError::Interrupted,
            _ => {
                let (channel, server) = (wanted.channel.to_owned(), source.name());
                PublishedError::Server { channel, server, source: failure }
            }
        };
        let files = ImageFiles { usr: &usr, verity: &verity, uki: &uki };
        let whole = folder.join(WHOLE);
        let how = self.fetch(files, whole.exists(), &watch).map_err(failed)?;
        // Only a note that looking is worth the while: what is there is compared with what was signed.
        File::create(&whole).with_context(|| format!("cannot write {}", whole.display()))?;
        step.set("laying out the disk");
        let tools = laid_out::sandbox(&self.tools.path, &[self.checkout, self.work.folder()])?;
        // A version's mark is no part of a boot image's name.
        let Version { major, minor, patch, .. } = release.version;
        let (full_version, version) = (watch.version.clone(), Version::new(major, minor, patch).to_string());
        let layout = Layout {
            checkout: self.checkout,
            id: &self.about.id,
            version: &version,
            full_version: &full_version,
            epoch: release.build_time,
            root_hash: &hash,
            channel: wanted.channel,
            usr: &usr,
            verity: &verity,
            uki: &uki,
            loader: &self.tools.path.join(BOOT_LOADER),
            // A channel has no loader that is signed, and no keys: its images are for machines without Secure Boot.
            keys: None,
            tools: &tools,
        };
        let tools_key = self.tools.path.file_name().unwrap_or_default().to_string_lossy();
        let raw = laid_out::disk(&layout, key.clone().with(&tools_key), self.work)?;
        let usr_tree = match wanted.on == BackendKind::Nspawn && !mounts_erofs() {
            true => keep_tree(&laid_out::usr_tree(&usr, &key, &tools, self.work)?, wanted.keep_in)?,
            false => folder.join("usr"),
        };
        if cancel.load(Ordering::Relaxed) {
            return Err(PublishedError::Interrupted.into());
        }
        let image = Image {
            version: full_version.clone(),
            channel: wanted.channel.to_owned(),
            raw: keep(&raw, wanted.keep_in)?,
            usr_tree,
            usr_erofs: keep(&usr, wanted.keep_in)?,
            tools: keep_tree(&self.tools.path, wanted.keep_in)?,
        };
        Ok((image, how))
    }

    /// Sees to it that the images are there, as they were signed.
    fn fetch(&self, files: ImageFiles<'_>, was_whole: bool, watch: &Shown<'_>) -> Result<String, Failure> {
        if was_whole {
            watch.step.set("looking at what was fetched");
            match self.published.verify(files, watch) {
                Ok(()) => return Ok("cache".to_owned()),
                Err(failure) if failure.kind == Kind::Cancelled => return Err(failure),
                Err(_) => {
                    self.published.fetch(files, watch)?;
                    return Ok("what was damaged in the cache is fetched again".to_owned());
                }
            }
        }
        self.published.fetch(files, watch)?;
        Ok(format!("{} MiB", self.published.release.full.blob.size >> 20))
    }
}

/// The line of a fetch.
struct Shown<'a> {
    step: &'a Step,
    cancel: &'a AtomicBool,
    version: String,
}

impl Observer for Shown<'_> {
    fn operation(&self, operation: Operation) {
        if operation == Operation::Verifying {
            self.step.set(format!("reading {} back", self.version));
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
