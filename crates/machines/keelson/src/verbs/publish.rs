//! `keelson publish`: uploads a release to the channel server, or assigns an uploaded version to a channel.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use release::{Release, Version, files};
use serde_json::{Value, json};

use crate::checkout::find_checkout;
use crate::context::Context;
use crate::failure::UsageError;
use crate::output;
use crate::update_server::{ServerFlags, UpdateServer};
use crate::verbs::keys::ReleaseKey;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Channel to publish to
    #[arg(long, value_name = "CHANNEL")]
    channel: String,
    /// Folder of a release, or a version that is already on the server
    #[arg(value_name = "FOLDER|VERSION")]
    what: String,
    /// URL of the payload on another web server; only the metadata is uploaded to the channel server
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
        output::print(format!("channel {} is at {version}\n", flags.channel))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder of a release: `what` itself, or the output folder of `keelson release` for this version.
fn folder(what: &str) -> anyhow::Result<Option<PathBuf>> {
    let built = find_checkout()?.map(|checkout| checkout.join("target/releases").join(what));
    let candidates = [Some(PathBuf::from(what)), built];
    Ok(candidates.into_iter().flatten().find(|folder| folder.join(files::RELEASE).is_file()))
}

/// Uploads a release. Files that the server has are skipped.
fn send(context: &Context, server: &UpdateServer, flags: &Flags, folder: &Path) -> anyhow::Result<Value> {
    let path = folder.join(files::RELEASE);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let release = Release::parse(&bytes)?;
    if !release.channels.contains(&flags.channel) {
        let allowed = release.channels.join(", ");
        bail!("version {} is signed for {allowed}, not for {}", release.version, flags.channel);
    }
    let (version, arch) = (release.version.to_string(), architecture(&release.board));
    // They verify the release.
    super::keys::publish_release(context, server, &flags.release_key, folder)?;
    let sent = server.get(&["uploads", arch, &version], &[])?;
    if sent["published"] != true {
        let is_uploaded =
            |name: &str| sent["sent"].as_array().is_some_and(|sent| sent.iter().any(|one| one == name));
        let mut names = vec![files::RELEASE.to_owned()];
        if flags.files_at.is_none() {
            names.extend(release.blobs().map(|blob| blob.url.to_string()));
        }
        for name in names {
            // The description is small and determines the other files.
            if is_uploaded(&name) && name != files::RELEASE {
                context.progress.note(&format!("{name} is already on the server"));
                continue;
            }
            let step = context.progress.step(&name);
            server.send_file(&["uploads", arch, &version, &name], &folder.join(&name))?;
            step.done("sent");
        }
    }
    let publish =
        json!({ "version": version, "arch": arch, "files_at": flags.files_at, "channel": flags.channel });
    server.post(&["packages"], &publish)
}

/// The same mapping from the board as on the server.
fn architecture(board: &str) -> &'static str {
    if board.starts_with("arm64") { "aarch64" } else { "amd64" }
}
