//! Image files of a channel's versions, for installers: found and verified as a machine verifies its updates.

use release::{Digest, FileName, ImageFile, ImageList, MAX_IMAGE_LIST, Version, files};
use tuf::{TargetFile, Targets};
use update_core::repository::{RepositoryError, images_target};
use update_worker::Isolation;

use crate::error::{Failure, Kind, code};
use crate::http::RetryPolicy;
use crate::origin::Origin;
use crate::published::{MachineSpec, PublishedRelease, newest};

/// The image files of a release. Release keys have signed all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedImages {
    /// Their version.
    pub version: Version,
    /// Of `/usr` in each image.
    pub root_hash: Digest,
    /// Those of the channel; at least one.
    pub files: Vec<PublishedImage>,
}

/// An image file of a server. Whoever fetches it compares size and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedImage {
    /// Where it is. The server may redirect.
    pub url: String,
    /// The last part of the URL.
    pub name: FileName,
    /// As `keelson image build --format` names it.
    pub format: String,
    /// Of the file, in bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: Digest,
    /// Of the disk inside, in bytes.
    pub virtual_size: u64,
}

impl PublishedImages {
    /// The images of a channel's current version, or of `version`. `server` is the URL of the channel server, `app` names
    /// its application, `root` is the trusted root file.
    ///
    /// # Errors
    /// The server does not respond, the metadata or the release is not acceptable, or there are no images for the channel.
    pub fn from_server(
        (server, app): (&str, &str),
        version: Option<&Version>,
        spec: MachineSpec<'_>,
        root: &[u8],
        retry: RetryPolicy,
        isolation: &Isolation,
    ) -> Result<Self, Failure> {
        let server = server.trim_end_matches('/');
        let files_url = format!("{server}/files/{app}");
        let newest = newest(&files_url, spec, root, retry, isolation)?;
        let release = PublishedRelease::of_newest(&files_url, &newest, version, spec, (retry, isolation));
        let release = release
            .map_err(|failure| Failure { version: version.map(ToString::to_string), ..failure })?
            .release;
        let (version, board) = (&release.version, spec.board);
        let listed = listed(&newest.trusted.targets, board, version)?;
        let base = format!("{files_url}/targets/releases/{board}/{version}/");
        let origin = Origin::at_url(&base, retry, isolation);
        let list = fetch(&origin, listed)?;
        list.ensure_of(&release).map_err(|error| Failure::new(Kind::Rejected, code::MANIFEST, &error))?;
        let channel = spec.channel;
        let base = format!("{server}/images/{channel}/{board}/{version}");
        let own = list.files.iter().filter(|file| file.channel == channel);
        let files: Vec<_> = own.map(|file| PublishedImage::new(file, &base)).collect();
        if files.is_empty() {
            return Err(no_images(format!("version {version} has no images for channel {channel}")));
        }
        Ok(Self { version: version.clone(), root_hash: list.root_hash, files })
    }

    /// The first file in one of `formats`, in their order.
    #[must_use]
    pub fn in_format(&self, formats: &[&str]) -> Option<&PublishedImage> {
        formats.iter().find_map(|format| self.files.iter().find(|file| file.format == *format))
    }
}

impl PublishedImage {
    fn new(file: &ImageFile, base: &str) -> Self {
        Self {
            url: format!("{base}/{}", file.name),
            name: file.name.clone(),
            format: file.format.clone(),
            size: file.size,
            sha256: file.sha256,
            virtual_size: file.virtual_size,
        }
    }
}

fn no_images(message: String) -> Failure {
    Failure::text(Kind::Rejected, omaha::ErrorCode::DOWNLOAD_TRANSFER, message)
}

fn listed<'a>(targets: &'a Targets, board: &str, version: &Version) -> Result<&'a TargetFile, Failure> {
    targets.targets.get(&images_target(board, version)).ok_or_else(|| {
        let missing = RepositoryError::NoImages { version: version.clone(), board: board.to_owned() };
        no_images(missing.to_string())
    })
}

/// Fetches `images.json`. Parses nothing before its digest is verified.
fn fetch(origin: &Origin, listed: &TargetFile) -> Result<ImageList, Failure> {
    let digest = listed.hashes.0.get("sha256").map(String::as_str).unwrap_or_default();
    let bytes = origin.file(&format!("{digest}.{}", files::IMAGES), MAX_IMAGE_LIST as u64)?;
    listed.verify(&bytes).map_err(|error| Failure::new(Kind::Rejected, code::MANIFEST, &error))?;
    ImageList::parse(&bytes).map_err(|error| Failure::new(Kind::Rejected, code::MANIFEST, &error))
}
