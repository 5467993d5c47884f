//! Images of a channel server. Whatever is installed from one is listed by metadata of The Update Framework, which keys
//! sign that the running system trusts.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use disk_install::{FetchError, Fetcher, HttpImage};
use release::{Digest, Version};
use update_engine::{
    Failure, Isolation, MachineSpec, Paths, PublishedImages, RetryPolicy, Server, Settings as UpdateSettings,
    TrustStore, app_name, channel_server,
};

use crate::settings::{CURRENT, Settings};

/// Encodings of images that can be installed, the smallest one first.
const ENCODINGS: [&str; 3] = [".raw.zst", ".raw.gz", ".raw"];
/// Of metadata, which is small. The image has the limits of its own transfer.
const RETRY: RetryPolicy =
    RetryPolicy { attempts: 3, pause: Duration::from_secs(1), limit: Duration::from_secs(300) };
const MAX_TIMESTAMP: u64 = 1 << 20;

/// A channel server, and what is trusted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelServer {
    /// Without a final slash.
    pub url: String,
    /// The product: a UUID in braces.
    pub appid: String,
    /// The file with the trusted root.
    pub root: Vec<u8>,
}

/// An image that a channel's metadata lists.
#[derive(Debug)]
pub struct ChannelImage {
    pub image: HttpImage,
    pub sha256: Digest,
    pub name: String,
    pub version: Version,
    /// Of `/usr` in it.
    pub root_hash: Digest,
}

impl ChannelServer {
    /// The one that the system below `root` gets its updates from, with the root that it trusts.
    pub fn of_system(root: &Path, appid: Option<&str>) -> Result<Self> {
        let paths = Paths::new(root);
        let Some(appid) = appid else {
            let release = paths.at("usr/share/coreos/release");
            bail!("this system has no channel server: no COREOS_RELEASE_APPID in {}", release.display());
        };
        let settings = UpdateSettings::read(&paths);
        for warning in &settings.warnings {
            eprintln!("{warning}");
        }
        let endpoint = match &settings.server {
            Server::Url(url) => url,
            Server::Disabled(why) => bail!("this system has no channel server: {why}"),
        };
        let url = channel_server(endpoint).with_context(|| {
            format!(
                "SERVER={endpoint} in update.conf is not the URL of a channel server, http://HOST/v1/update/"
            )
        })?;
        let store = TrustStore::open(&paths, &settings)?;
        Ok(Self { url: url.to_owned(), appid: appid.to_owned(), root: store.root_file().to_vec() })
    }

    /// The same product on another server.
    pub fn at(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// Whether the server has signed metadata at all.
    pub fn has_metadata(&self, fetcher: &Fetcher) -> Result<bool> {
        let url = format!("{}/files/{}/metadata/timestamp.json", self.url, self.app()?);
        match fetcher.get(&url, MAX_TIMESTAMP) {
            Ok(bytes) if bytes.trim_ascii_start().starts_with(b"{") => Ok(true),
            Ok(_) => bail!("{url} is not JSON: does this network redirect to a login page?"),
            Err(FetchError::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(anyhow!("the signed metadata of the channel is unavailable: {error}")),
        }
    }

    /// Finds the image of the channel's version, or of the version in `settings`.
    pub fn image(&self, settings: &Settings, fetcher: &Fetcher) -> Result<ChannelImage> {
        let Settings { channel, board, .. } = settings;
        let version = match &*settings.version {
            CURRENT => None,
            version => Some(version.parse::<Version>().with_context(|| {
                format!("-V {version}: expected a version such as 2.0.0, a channel's name, or `{CURRENT}`")
            })?),
        };
        let server = &self.url;
        if !self.has_metadata(fetcher)? {
            bail!(
                "{server} has no signed metadata of this product ({}): name an image file with -f, or a mirror with -b",
                self.appid
            );
        }
        let spec = MachineSpec { appid: &self.appid, board, channel };
        let isolation = Isolation::own_program();
        let found = PublishedImages::from_server(
            (server, self.app()?),
            version.as_ref(),
            spec,
            &self.root,
            RETRY,
            &isolation,
        );
        let images = found.map_err(|failure| {
            let what = version.as_ref().map_or_else(String::new, |version| format!("version {version} of "));
            let step = next_step(&failure).map_or_else(String::new, |step| format!("; {step}"));
            anyhow!("cannot install {what}channel {channel} of {server}: {failure}{step}")
        })?;
        pick(&images, settings)
    }

    fn app(&self) -> Result<&str> {
        app_name(&self.appid).with_context(|| format!("{:?} is not the UUID of a product", self.appid))
    }
}

fn next_step(failure: &Failure) -> Option<&'static str> {
    match (failure.is_signature(), &failure.version, failure.is_outdated()) {
        (true, Some(_), _) => Some("-V current installs the channel's version"),
        (true, None, _) => Some(
            "this system does not trust the server's keys: to trust others, put their root.json into /etc/keelson/keys.d and \
             set ALLOW_LOCAL_KEYS=yes in /etc/coreos/update.conf",
        ),
        (_, _, true) => Some("compare this system's clock (date -u) with the server's"),
        _ => None,
    }
}

/// The image for the platform.
fn pick(images: &PublishedImages, settings: &Settings) -> Result<ChannelImage> {
    let version = &images.version;
    let stem = settings.image_name(&version.to_string());
    let named = |ending: &&str| {
        let name = format!("{stem}{ending}");
        images.files.iter().find(|file| file.name.as_str() == name)
    };
    let file = ENCODINGS.iter().find_map(named).with_context(|| {
        let names: Vec<_> = images.files.iter().map(|file| file.name.as_str()).collect();
        let hint = if settings.oem.is_empty() { "" } else { "; -o '' installs the image for any platform" };
        format!(
            "version {version} has no image {stem}{} for channel {}, but {}{hint}",
            ENCODINGS.join("|"),
            settings.channel,
            names.join(", ")
        )
    })?;
    Ok(ChannelImage {
        image: HttpImage { url: file.url.clone(), bytes: Some(file.size), sha256: Some(file.sha256) },
        sha256: file.sha256,
        name: file.name.to_string(),
        version: version.clone(),
        root_hash: images.root_hash,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use update_engine::PublishedImage;

    use super::*;
    use crate::flags::Flags;
    use crate::settings::Running;

    fn picked(names: &[&str], oem: &str) -> Result<String, String> {
        let file = |name: &&str| PublishedImage {
            url: format!("http://x/{name}"),
            name: name.parse().unwrap(),
            format: "raw".to_owned(),
            size: 1,
            sha256: Digest::of(name.as_bytes()),
            virtual_size: 2,
        };
        let images = PublishedImages {
            version: "2.0.0".parse().unwrap(),
            root_hash: Digest::of(b"usr"),
            files: names.iter().map(file).collect(),
        };
        let flags = Flags::parse_from(["coreos-install", "-C", "beta", "-o", oem]);
        let found = pick(&images, &Settings::resolve(&flags.install, &Running::default()));
        found.map(|found| found.name).map_err(|error| error.to_string())
    }

    #[test]
    fn the_image_of_the_platform_is_selected() {
        let all = ["keelson-2.0.0-beta.raw", "keelson-2.0.0-beta.raw.zst", "keelson-2.0.0-beta-ec2.raw.gz"];
        assert_eq!(picked(&all, "").unwrap(), "keelson-2.0.0-beta.raw.zst");
        assert_eq!(picked(&all[..1], "").unwrap(), "keelson-2.0.0-beta.raw");
        assert_eq!(picked(&all, "ec2").unwrap(), "keelson-2.0.0-beta-ec2.raw.gz");
        assert_eq!(
            picked(&["keelson-2.0.0-beta.qcow2"], "gce").unwrap_err(),
            "version 2.0.0 has no image keelson-2.0.0-beta-gce.raw.zst|.raw.gz|.raw for channel beta, but \
             keelson-2.0.0-beta.qcow2; -o '' installs the image for any platform"
        );
    }

    #[test]
    fn the_server_is_that_of_update_conf() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let refused = |appid| ChannelServer::of_system(root, appid).unwrap_err().to_string();
        assert!(refused(None).contains("no channel server: no COREOS_RELEASE_APPID in "));
        assert_eq!(refused(Some("{a}")), "this system has no channel server: no SERVER is configured");
        put("etc/coreos/update.conf", "SERVER=http://h/update\n");
        assert!(refused(Some("{a}")).starts_with("SERVER=http://h/update in update.conf is not the URL"));
        put("etc/coreos/update.conf", "SERVER=http://h/v1/update/\n");
        assert!(refused(Some("{a}")).contains("there is no trusted root"), "{}", refused(Some("{a}")));
    }
}
