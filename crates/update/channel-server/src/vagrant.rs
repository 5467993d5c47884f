//! Catalogs of Vagrant boxes: the JSON that `vagrant box add URL` and `vagrant box update` read.
//!
//! Paused and withdrawn versions are not in a catalog: Vagrant installs the newest one that it finds.

use std::sync::Arc;

use hyper::StatusCode;
use rollout::{Image, Package};
use semver::Version;
use serde::Serialize;
use serde_json::{Value, json};

use crate::body::{HttpResponse, json as json_response};
use crate::channel_images::{ChannelImages, not_found};
use crate::server::Server;

/// CoreOS's names.
pub const CATALOGS: [&str; 2] =
    ["coreos_production_vagrant.json", "coreos_production_vagrant_virtualbox.json"];

/// A box of a version.
#[derive(Debug, Serialize)]
struct Provider<'a> {
    name: &'static str,
    url: String,
    checksum_type: &'static str,
    checksum: &'a str,
    architecture: &'static str,
    default_architecture: bool,
}

/// The provider of a format.
fn provider_of(format: &str) -> Option<&'static str> {
    match format {
        "box" => Some("virtualbox"),
        "box-libvirt" => Some("libvirt"),
        _ => None,
    }
}

/// `parameters`: channel, board, file. `base`: the URL of this server.
pub fn catalog(server: &Arc<Server>, parameters: &[&str], base: &str) -> HttpResponse {
    let [channel, board, file] = parameters else { return not_found("no such file") };
    if !CATALOGS.contains(file) {
        return not_found(format_args!("no such file; the catalog of Vagrant boxes is {}", CATALOGS[0]));
    }
    let state = server.state.lock();
    match ChannelImages::find(&state, &server.settings.app.id, channel, board) {
        Ok(found) => json_response(StatusCode::OK, &catalog_of(server, &found, None, base)),
        Err(why) => not_found(why),
    }
}

/// The catalog of a channel, with `only` one version or all.
pub fn catalog_of(server: &Server, channel: &ChannelImages<'_>, only: Option<&Version>, base: &str) -> Value {
    let name = channel.channel.track.name();
    let versions = channel.versions().filter(|package| {
        only.is_none_or(|only| package.version == *only) && is_gem_version(&package.version)
    });
    let versions = versions.filter(|package| !is_paused(channel, package)).filter_map(|package| {
        let images = channel.images(server, package);
        let providers: Vec<_> =
            images.into_iter().filter_map(|image| provider(channel, package, image, base)).collect();
        (!providers.is_empty()).then(|| json!({ "version": package.version, "providers": providers }))
    });
    json!({
        "name": format!("coreos-{name}"),
        "description": format!("Keelson, channel {name}"),
        "versions": versions.collect::<Vec<_>>(),
    })
}

fn provider<'a>(
    channel: &ChannelImages<'_>,
    package: &Package,
    image: &'a Image,
    base: &str,
) -> Option<Provider<'a>> {
    let name = provider_of(&image.format)?;
    let (track, board, version, file) =
        (channel.channel.track.name(), channel.board, &package.version, &image.file.name);
    Some(Provider {
        name,
        url: format!("{base}/images/{track}/{board}/{version}/{file}"),
        checksum_type: "sha256",
        checksum: &image.file.sha256,
        architecture: if board.starts_with("arm64") { "arm64" } else { "amd64" },
        default_architecture: true,
    })
}

/// Whether the group of the channel's name is not to get a version for now.
fn is_paused(channel: &ChannelImages<'_>, package: &Package) -> bool {
    let group = channel.app.groups.get(&channel.channel.track);
    let is_current = channel.channel.package.as_ref() == Some(&package.version);
    is_current && group.is_some_and(|state| state.group.paused.is_some())
}

/// Ruby's gems have no build metadata: Vagrant refuses a catalog with such a version.
fn is_gem_version(version: &Version) -> bool {
    version.build.is_empty()
}
