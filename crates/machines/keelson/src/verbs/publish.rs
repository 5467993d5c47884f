//! `keelson publish`: uploads a release, with its image files, to the channel server, or assigns an uploaded version to a
//! channel.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use release::{Release, Version, files};
use release_folder::{add_image_files, read_images};
use serde_json::{Value, json};

use crate::checkout::find_checkout;
use crate::context::Context;
use crate::failure::UsageError;
use crate::finished_images::ImagesFlag;
use crate::output;
use crate::update_server::{ServerFlags, UpdateServer};
use crate::verbs::keys::ReleaseKey;

/// Of channels and versions without an `@`.
const DEFAULT_ARCH: &str = "amd64";

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Channel to publish to
    #[arg(long, value_name = "CHANNEL")]
    channel: String,
    /// Folder of a release, or a version that is already on the server
    #[arg(value_name = "FOLDER|VERSION")]
    what: String,
    #[command(flatten)]
    images: ImagesFlag,
    /// URL of the files of the release and its images on another web server; only the metadata is uploaded to the channel
    /// server
    #[arg(long, value_name = "URL")]
    files_at: Option<String>,
    #[command(flatten)]
    release_key: ReleaseKey,
    #[command(flatten)]
    reached: ServerFlags,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let folder = folder(&flags.what)?;
    let version: Result<Version, _> = flags.what.parse();
    if folder.is_none() && version.is_err() {
        let why =
            format!("{} is neither a folder that contains {} nor a version", flags.what, files::RELEASE);
        return Err(UsageError(why).into());
    }
    if folder.is_none() && !flags.images.is_empty() {
        let why = format!("--images adds files to the folder of a release, and {} is none", flags.what);
        return Err(UsageError(why).into());
    }
    let server = UpdateServer::open(context, &flags.reached)?;
    let published = match &folder {
        Some(folder) => send(context, &server, flags, folder),
        None => {
            let point = server.put(&["channels", &flags.channel], &json!({ "version": flags.what }));
            point.map(|mut pointed| {
                pointed["version"] = json!(flags.what);
                pointed
            })
        }
    };
    let mut published =
        published.with_context(|| format!("cannot publish {} to {}", flags.what, flags.channel))?;
    published["channel"] = json!(flags.channel);
    super::channel::warn_paused(context, &published);
    if context.json {
        output::print_json(&published)?;
    } else {
        let version = published["version"].as_str().unwrap_or_default();
        let images = published["images"].as_u64().map(|count| format!(", with {count} image files"));
        output::print(format!("channel {} is at {version}{}\n", flags.channel, images.unwrap_or_default()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of a release: `what` itself, or the output folder of `keelson release` for this version.
fn folder(what: &str) -> anyhow::Result<Option<PathBuf>> {
    let built = find_checkout()?.map(|checkout| checkout.join("target/releases").join(what));
    let candidates = [Some(PathBuf::from(what)), built];
    Ok(candidates.into_iter().flatten().find(|folder| folder.join(files::RELEASE).is_file()))
}

/// Uploads a release and its images. Files that the server has are skipped. The channel points to the version last: who
/// sees it there finds its images.
fn send(context: &Context, server: &UpdateServer, flags: &Flags, folder: &Path) -> anyhow::Result<Value> {
    let path = folder.join(files::RELEASE);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let release = Release::parse(&bytes)?;
    if !release.channels.contains(&flags.channel) {
        let allowed = release.channels.join(", ");
        bail!("version {} is signed for {allowed}, not for {}", release.version, flags.channel);
    }
    let signs_images = !flags.images.is_empty();
    if signs_images {
        add_images(context, flags, folder, &release)?;
    }
    let images = read_images(folder)?;
    // They verify the release.
    super::keys::publish_release(context, server, &flags.release_key, folder, signs_images)?;
    let upload = Upload { context, server, folder, files_at: flags.files_at.as_deref() };
    let (version, arch) = (release.version.to_string(), architecture(&release.board));
    let blobs = release.blobs().map(|blob| blob.url.to_string());
    upload.send(&["uploads", arch, &version], files::RELEASE, blobs)?;
    let of_arch = |name: &str| if arch == DEFAULT_ARCH { name.to_owned() } else { format!("{name}@{arch}") };
    let track = of_arch(&flags.channel);
    let mut publish = json!({ "version": version, "arch": arch, "files_at": flags.files_at });
    if images.is_none() {
        publish["channel"] = json!(track);
    }
    let published = server.post(&["packages"], &publish)?;
    let Some((images, _)) = images else { return Ok(published) };
    let names = images.files.iter().map(|file| file.name.to_string());
    upload.send(&["images", arch, &version], files::IMAGES, names)?;
    server.post(&["packages", &of_arch(&version), "images"], &json!({ "files_at": flags.files_at }))?;
    let mut pointed = server.put(&["channels", &track], &json!({ "version": version }))?;
    pointed["version"] = json!(version);
    pointed["images"] = json!(images.files.len());
    Ok(pointed)
}

/// Copies images into the folder of a release.
fn add_images(context: &Context, flags: &Flags, folder: &Path, release: &Release) -> anyhow::Result<()> {
    let builds = flags.images.read()?;
    let step = context.progress.step("images");
    let (list, _) = add_image_files(folder, release, &builds, &mut |done, total| {
        step.set(format!("copying {} %", done * 100 / total.max(1)));
    })
    .with_context(|| format!("cannot add images to {}", folder.display()))?;
    step.done(&format!("{} files", list.files.len()));
    Ok(())
}

/// Where files are sent from and to.
struct Upload<'a> {
    context: &'a Context,
    server: &'a UpdateServer,
    folder: &'a Path,
    files_at: Option<&'a str>,
}

impl Upload<'_> {
    /// Sends a description, and unless they are on another server, the files that it lists. Nothing if it is published.
    fn send(
        &self,
        place: &[&str; 3],
        description: &str,
        listed: impl Iterator<Item = String>,
    ) -> anyhow::Result<()> {
        let sent = self.server.get(place, &[])?;
        if sent["published"] == true {
            return Ok(());
        }
        let is_uploaded =
            |name: &str| sent["sent"].as_array().is_some_and(|sent| sent.iter().any(|one| one == name));
        let mut names = vec![description.to_owned()];
        names.extend(listed.filter(|_| self.files_at.is_none()));
        for name in names {
            // The description is small and determines the other files.
            if is_uploaded(&name) && name != description {
                self.context.progress.note(&format!("{name} is already on the server"));
                continue;
            }
            let step = self.context.progress.step(&name);
            let [kind, arch, version] = place;
            self.server.send_file(&[kind, arch, version, &name], &self.folder.join(&name))?;
            step.done("sent");
        }
        Ok(())
    }
}

/// The same mapping from the board as on the server.
fn architecture(board: &str) -> &'static str {
    if board.starts_with("arm64") { "aarch64" } else { DEFAULT_ARCH }
}
