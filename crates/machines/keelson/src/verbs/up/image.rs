//! The image of `up`: a file, a channel's version, or a build of the checkout.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use image::programs::Profile;
use machines::cluster::BackendKind;
use machines::image::Image;
use serde_json::{Value, json};

use crate::boot_image::{self, ImageRequest};
use crate::channel_image;
use crate::config_rb::ConfigRb;
use crate::context::Context;
use crate::update_server::{FOLDER, Source, parse_source, registration_token};

// Its default group id would be that of the verb's own `Flags`.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Image to boot: a disk that `image build` wrote, or its folder
    #[arg(long, value_name = "FILE", env = "KEELSON_IMAGE")]
    image: Option<PathBuf>,
    /// Build profile of the programs if this checkout is built: quick, or node, as in releases
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::Quick)]
    profile: Profile,
    /// Channel: boot its version from the channel server, or build the checkout if no server has one; machines get
    /// updates from that server [default: alpha, without an update server]
    #[arg(long, value_name = "C")]
    channel: Option<String>,
    /// Channel server, or its data folder [default: that of the local server]
    #[arg(long, value_name = "URL|DIR", env = "KEELSON_UPDATE_SERVER", value_parser = parse_source)]
    update_server: Option<Source>,
    /// File with the channel server's registration token [default: that of the local server]
    #[arg(long, value_name = "FILE", env = "KEELSON_REGISTRATION_TOKEN_FILE")]
    registration_token: Option<PathBuf>,
    /// Folder with the trusted root, N.root.json or root.json [default: the newest of `keelson keys` and of the checkout]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSource {
    File,
    Channel,
    Checkout,
}

impl ImageSource {
    /// The image in `--json` output.
    pub fn to_json(self, image: &Image) -> Value {
        let from = match self {
            Self::File => "file",
            Self::Channel => "channel",
            Self::Checkout => "checkout",
        };
        json!({ "version": image.version, "channel": image.channel, "from": from })
    }
}

/// The machines' update server.
pub struct MachinesServer {
    pub url: String,
    pub registration: Option<String>,
}

/// `None` without a channel or a known server.
pub fn server(context: &Context, flags: &Flags, config: &ConfigRb) -> anyhow::Result<Option<MachinesServer>> {
    let has_channel = flags.channel.is_some() || config.update_channel.is_some();
    let local = context.state_dir.join(FOLDER);
    let default_source = || has_channel.then(|| Source::Folder(local.clone()));
    let Some(source) = flags.update_server.clone().or_else(default_source) else { return Ok(None) };
    let Some(url) = source.update_url()? else { return Ok(None) };
    let registration = registration_token(&source, flags.registration_token.as_deref(), &local)?;
    Ok(Some(MachinesServer { url, registration }))
}

/// Finds or builds the image; prints warnings about deviations from the request.
pub fn find(
    context: &Context,
    flags: &Flags,
    on: BackendKind,
    config: &ConfigRb,
    cancel: &Arc<AtomicBool>,
) -> anyhow::Result<(Image, ImageSource)> {
    let channel = flags.channel.as_ref().or(config.update_channel.as_ref()).map(String::as_str);
    let layout = context.layout()?;
    if let (None, Some(channel)) = (&flags.image, channel) {
        let request = channel_image::ChannelImageRequest {
            channel,
            version: config.image_version.as_deref(),
            server: flags.update_server.as_ref(),
            keys: flags.keys.as_deref(),
            on,
            keep_in: layout.root(),
        };
        if let Some(image) = channel_image::find(context, request, cancel)? {
            return Ok((image, ImageSource::Channel));
        }
        context
            .progress
            .note(&format!("no channel server has a version of channel {channel}: building this checkout"));
    }
    let request = ImageRequest {
        named: flags.image.as_deref(),
        channel,
        profile: flags.profile,
        on: Some(on),
        keep_in: Some(layout.root()),
    };
    let image = boot_image::find(context, request, cancel)?.image;
    if let Some(version) = config.image_version.as_ref().filter(|version| **version != image.version) {
        let warning = format!("warning: $image_version is {version}, the image is {}", image.version);
        context.progress.note(&warning);
    }
    if let Some(channel) = channel.filter(|channel| **channel != image.channel) {
        let warning = format!("warning: channel {channel} was requested, the image is of {}", image.channel);
        context.progress.note(&warning);
    }
    Ok((image, if flags.image.is_some() { ImageSource::File } else { ImageSource::Checkout }))
}
