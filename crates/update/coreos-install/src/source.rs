//! Where the image comes from, and what verifies it. A digest enters only through [`Verification`].

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use disk_install::{
    Expected, FetchError, Fetcher, HttpImage, ImageRecord, Key, LiveRecord, Sidecar, Signature, expected_of,
    is_raw, signature, verify_file,
};
use disk_slots::gpt::{ImageTable, root_hash};
use release::Digest;

use crate::channel::ChannelServer;
use crate::job::Job;
use crate::settings::{CURRENT, Settings};

/// The live system's disk image and its record, below the root.
const LIVE_DISK: &str = "run/keelson/live/disk.raw";
const LIVE_RECORD: &str = "run/keelson/live/record.json";
/// Encoding of images on mirrors.
const ENCODING: &str = ".raw.zst";
/// Names of versions, records and signatures are small.
const MAX_SMALL: u64 = 1 << 20;

/// What the image must be.
pub enum Verification {
    /// The digest of the file, from its record or signed metadata.
    File(Digest),
    /// The digest of the raw disk.
    Disk(Digest),
    /// The digest of the raw disk's chunks, which several threads compute.
    Chunks(Digest),
    /// A signature of the file.
    Signature(Key, Box<Signature>),
    /// Nothing: `--insecure`.
    None,
}

impl Verification {
    pub fn expected(&self) -> Expected<'_> {
        match self {
            Self::File(digest) => Expected { file: Some(*digest), ..Expected::default() },
            Self::Disk(digest) => Expected { disk: Some(*digest), ..Expected::default() },
            Self::Chunks(digest) => Expected { chunks: Some(*digest), ..Expected::default() },
            Self::Signature(key, signature) => {
                Expected { signature: Some((key, signature)), ..Expected::default() }
            }
            Self::None => Expected::default(),
        }
    }
}

enum Origin {
    File(PathBuf),
    Http(HttpImage),
}

/// An image, found and available.
pub struct Source {
    origin: Origin,
    pub verification: Verification,
    /// Of the file, for messages and for downloads.
    pub name: String,
    /// What was installed: `Keelson beta 3.2.1`.
    pub summary: String,
    is_live: bool,
    /// Of `/usr`, if it is known.
    root_hash: Option<Digest>,
}

impl Source {
    pub fn find(job: &Job<'_>) -> Result<Self> {
        if let Some(image) = &job.flags.image {
            return from_file(image, job.key()?, job);
        }
        let live = job.root.join(LIVE_DISK);
        if job.settings.may_be_live && live.exists() {
            return from_live_system(&live, job);
        }
        Self::find_remote(job)
    }

    /// An image of a mirror or of a channel server.
    pub fn find_remote(job: &Job<'_>) -> Result<Self> {
        let Some(base) = &job.settings.base_url else {
            let server = (job.server)().map_err(|error| {
                let live = job.root.join(LIVE_DISK);
                let live = match job.settings.may_be_live {
                    true => format!("{} does not exist, so this is no live system; ", live.display()),
                    false => String::new(),
                };
                anyhow!("there is no image to install: {live}{error:#}. Name an image file with -f, or a mirror with -b")
            })?;
            if job.flags.key.is_some() {
                bail!(
                    "-k is for the signature of an image file or a mirror; the signed metadata of {} verifies its images",
                    server.url
                );
            }
            return from_channel(&server, job);
        };
        let key = job.key()?;
        if key.is_none()
            && !job.flags.insecure
            && let Some(url) = job.settings.channel_server_of(base)
            && let Ok(server) = (job.server)()
        {
            let server = server.at(url);
            if server.has_metadata(&job.fetcher)? {
                return from_channel(&server, job);
            }
        }
        from_mirror(base, key, job)
    }

    /// Fails if the image has another `/usr` than it must have.
    pub fn check_usr(&self, table: &ImageTable) -> Result<()> {
        let Some(expected) = self.root_hash else { return Ok(()) };
        let part = |label: &str| table.partitions().iter().find(|part| part.label == label);
        let (Some(usr), Some(verity)) = (part("USR-A"), part("USR-A-verity")) else {
            bail!("{} has no partitions USR-A and USR-A-verity", self.name);
        };
        let found = root_hash(usr.uuid, verity.uuid);
        if found != expected {
            bail!(
                "/usr in {} has the root hash {found}, the release that lists it has {expected}",
                self.name
            );
        }
        Ok(())
    }

    /// Verifies a local file as a whole, where that is possible without decoding it.
    pub fn verify_beforehand(&self) -> Result<()> {
        let Origin::File(path) = &self.origin else { return Ok(()) };
        let file = open(path)?;
        let by_file = match self.verification {
            Verification::File(_) | Verification::Signature(..) => true,
            // The live system's disk is compressed below: each reading of it takes seconds.
            Verification::Chunks(_) => !self.is_live,
            Verification::Disk(_) | Verification::None => false,
        };
        if by_file {
            verify_file(&file, &self.verification.expected())?;
        }
        Ok(())
    }

    /// Opens the file. A transfer starts with the first read.
    pub fn open(&self, fetcher: &Fetcher) -> Result<Box<dyn Read>> {
        Ok(match &self.origin {
            Origin::File(path) => Box::new(open(path)?),
            Origin::Http(image) => {
                Box::new(image.open(fetcher).map_err(|error| unavailable("Image URL", &error))?)
            }
        })
    }

    pub fn is_remote(&self) -> bool {
        matches!(self.origin, Origin::Http(_))
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("Could not read image file: {}", path.display()))
}

fn from_file(image: &Path, key: Option<Key>, job: &Job<'_>) -> Result<Source> {
    let file = open(image)?;
    let is_raw = is_raw(&file).with_context(|| format!("Could not read image file: {}", image.display()))?;
    let verification = match (expected_of(image, key.is_some())?, key) {
        (Sidecar::Signature(signature), Some(key)) => Verification::Signature(key, Box::new(signature)),
        (Sidecar::Digest { digests, .. }, _) => match digests.chunks.filter(|_| is_raw) {
            Some(chunks) => Verification::Chunks(chunks),
            None => Verification::File(digests.sha256),
        },
        _ if job.flags.insecure => Verification::None,
        _ => bail!(
            "nothing verifies {0}: neither does a record of the build ({1}) list it, nor is there a key for its signature \
             (-k). To install an image that is not verified, add --insecure",
            image.display(),
            image.with_extension("json").display()
        ),
    };
    let name = image.display().to_string();
    let summary = format!("{} (from {name})", job.settings.product);
    Ok(Source {
        origin: Origin::File(image.to_owned()),
        verification,
        name,
        summary,
        root_hash: None,
        is_live: false,
    })
}

fn from_live_system(disk: &Path, job: &Job<'_>) -> Result<Source> {
    if job.flags.key.is_some() {
        bail!(
            "-k is for the signature of an image file or a mirror; the record of the live system verifies its image"
        );
    }
    let path = job.root.join(LIVE_RECORD);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let record = LiveRecord::parse(&text).with_context(|| path.display().to_string())?;
    let length = fs::metadata(disk).with_context(|| format!("cannot read {}", disk.display()))?.len();
    if length != record.disk_bytes {
        bail!("{} has {length} bytes, {} has {}", disk.display(), path.display(), record.disk_bytes);
    }
    let verification = match record.chunks()? {
        Some(chunks) => Verification::Chunks(chunks),
        None => Verification::Disk(record.disk()?),
    };
    Ok(Source {
        origin: Origin::File(disk.to_owned()),
        verification,
        name: disk.display().to_string(),
        summary: job.settings.summary(&record.version, &record.channel),
        root_hash: None,
        is_live: true,
    })
}

fn from_channel(server: &ChannelServer, job: &Job<'_>) -> Result<Source> {
    let settings = &job.settings;
    let found = server.image(settings, &job.fetcher)?;
    let version = found.version.to_string();
    if settings.version == CURRENT {
        job.report(&format!("Current version of {} {} is {version}", settings.product, settings.channel));
    }
    Ok(Source {
        origin: Origin::Http(found.image),
        verification: Verification::File(found.sha256),
        name: found.name,
        summary: settings.summary(&version, &settings.channel),
        root_hash: Some(found.root_hash),
        is_live: false,
    })
}

fn from_mirror(base: &str, key: Option<Key>, job: &Job<'_>) -> Result<Source> {
    let (settings, fetcher) = (&job.settings, &job.fetcher);
    let version = match &*settings.version {
        CURRENT => current_version(base, job)?,
        version => version.to_owned(),
    };
    let stem = settings.image_name(&version);
    let name = format!("{stem}{ENCODING}");
    let url = format!("{base}/{version}/{name}");
    let verification = match key {
        Some(key) => {
            let signature = fetch_signature(&url, &name, job)?;
            Verification::Signature(key, Box::new(signature))
        }
        None if job.flags.insecure => Verification::None,
        None if base.starts_with("https://") => {
            let plain = format!("{}-{version}-{}", settings.id, settings.channel);
            Verification::File(recorded_digest(&format!("{base}/{version}/{plain}.json"), &name, fetcher)?)
        }
        None => bail!(
            "{base} is not https, so that anyone on the way could replace the image: name the key of its signature (-k), \
             or add --insecure"
        ),
    };
    let sha256 = verification.expected().file;
    let summary = settings.summary(&version, &settings.channel);
    let origin = Origin::Http(HttpImage { url, bytes: None, sha256 });
    Ok(Source { origin, verification, name, summary, root_hash: None, is_live: false })
}

/// `COREOS_VERSION` in `current/version.txt`.
fn current_version(base: &str, job: &Job<'_>) -> Result<String> {
    let url = format!("{base}/current/version.txt");
    let text = job.fetcher.get(&url, MAX_SMALL).map_err(|error| unavailable("version.txt", &error))?;
    let version = parse_version(&String::from_utf8_lossy(&text))
        .with_context(|| format!("version.txt unavailable: {url}: no COREOS_VERSION= with a version"))?;
    let Settings { product, channel, .. } = &job.settings;
    job.report(&format!("Current version of {product} {channel} is {version}"));
    Ok(version)
}

fn parse_version(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix("COREOS_VERSION="))?;
    // It becomes a part of URLs.
    let version: release::Version = value.trim().parse().ok()?;
    Some(version.to_string())
}

fn fetch_signature(url: &str, name: &str, job: &Job<'_>) -> Result<Signature> {
    job.report(&format!("Downloading the signature for {url}..."));
    let mut found = job.fetcher.get(&format!("{url}.minisig"), MAX_SMALL);
    if matches!(found, Err(FetchError::Status { status: 404, .. })) {
        found = job.fetcher.get(&format!("{url}.sig"), MAX_SMALL);
    }
    let text = found.map_err(|error| unavailable("Image signature", &error))?;
    let signature = signature(Path::new(name), &String::from_utf8_lossy(&text))?;
    // Otherwise a mirror could serve a signed image of another version.
    let signed =
        signature.trusted_comment().split_ascii_whitespace().find_map(|field| field.strip_prefix("file:"));
    match signed {
        Some(signed) if signed != name => bail!("the signature is of {signed}, not of {name}"),
        _ => Ok(signature),
    }
}

fn recorded_digest(url: &str, name: &str, fetcher: &Fetcher) -> Result<Digest> {
    let text = fetcher.get(url, MAX_SMALL).map_err(|error| unavailable("Image signature", &error))?;
    let record = ImageRecord::parse(&text).with_context(|| url.to_owned())?;
    let listed = record.digests(name)?;
    let listed =
        listed.with_context(|| format!("Image signature unavailable: {url} does not list {name}"))?;
    Ok(listed.sha256)
}

fn unavailable(what: &str, error: &FetchError) -> anyhow::Error {
    anyhow::anyhow!("{what} unavailable: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_version_is_parsed() {
        let text = "COREOS_BUILD=1\nCOREOS_VERSION=3.2.1\nCOREOS_VERSION_ID=3.2.1\n";
        assert_eq!(parse_version(text).as_deref(), Some("3.2.1"));
        for bad in ["", "COREOS_VERSION=", "COREOS_VERSION=../../x", "X_COREOS_VERSION=1.0.0"] {
            assert_eq!(parse_version(bad), None, "{bad}");
        }
    }
}
