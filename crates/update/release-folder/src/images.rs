//! Image files of a release, for new machines: copied into its folder, and listed by `images.json`.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use release::{
    Digest, FileName, ImageFile, ImageList, MAX_IMAGE_LIST, MetadataError, NameError, NotOfRelease, Release,
    SCHEMA, Version, files, image_name,
};
use sha2::{Digest as _, Sha256};

use crate::keys::{KeysError, write_file};

const CHUNK: usize = 1 << 20;
/// Of a copy that is not complete.
const PARTIAL: &str = ".part";

/// Image files of one build, as its record describes them.
#[derive(Debug, Clone)]
pub struct FinishedImages {
    /// The record, for errors.
    pub record: PathBuf,
    /// As recorded.
    pub version: String,
    /// The channel that machines of these images follow.
    pub channel: String,
    /// Root hash of `/usr`, in hexadecimal.
    pub root_hash: String,
    /// At least one.
    pub files: Vec<FinishedImage>,
}

/// A file of a build.
#[derive(Debug, Clone)]
pub struct FinishedImage {
    /// Its name is the published one.
    pub path: PathBuf,
    /// As `keelson image build --format` names it.
    pub format: String,
    /// As recorded, in hexadecimal.
    pub sha256: String,
    /// Of the disk inside, in bytes.
    pub virtual_size: u64,
}

/// Why images were not added to a release.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ImagesError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("the images of {record} do not belong to the release")]
    Foreign { record: PathBuf, source: NotOfRelease },
    #[error(
        "{path} is not the file that its record lists: it has SHA-256 {found}, expected {expected}; build it again"
    )]
    Changed { path: PathBuf, found: Digest, expected: String },
    #[error("{path} has no file name that can be published")]
    Name { path: PathBuf, source: NameError },
    #[error("{path} is not named {expected}.EXTENSION, as `keelson image build` does")]
    Misnamed { path: PathBuf, expected: String },
    #[error("{0} already lists other images, and the images of a version are immutable")]
    Exists(PathBuf),
    #[error("the images cannot be listed")]
    List(#[from] MetadataError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// What images are compared with before they are added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub version: &'a Version,
    pub root_hash: Digest,
    pub channels: &'a [String],
}

/// Fails unless each build is one of the release. Reads no image.
///
/// # Errors
/// A build is of another version, has other contents, or a file has another name.
pub(crate) fn ensure_of_release(
    builds: &[FinishedImages],
    expected: Expected<'_>,
) -> Result<(), ImagesError> {
    let Expected { version, root_hash, channels } = expected;
    builds.iter().try_for_each(|build| {
        let foreign = |source| ImagesError::Foreign { record: build.record.clone(), source };
        if build.version != version.to_string() {
            let (found, expected) = (build.version.clone(), version.clone());
            return Err(foreign(NotOfRelease::Version { found, expected }));
        }
        if build.root_hash != root_hash.to_string() {
            let (version, found) = (version.clone(), build.root_hash.clone());
            return Err(foreign(NotOfRelease::RootHash { version, found, expected: root_hash }));
        }
        if !channels.contains(&build.channel) {
            let (channel, allowed) = (build.channel.clone(), channels.to_vec());
            return Err(foreign(NotOfRelease::Channel { channel, allowed }));
        }
        let expected = image_name(version, &build.channel);
        build.files.iter().try_for_each(|file| match file_name(&file.path)?.as_str().starts_with(&expected) {
            true => Ok(()),
            false => Err(ImagesError::Misnamed { path: file.path.clone(), expected: expected.clone() }),
        })
    })
}

/// Copies the image files of a release into its folder, and writes `images.json` last. The list is to be signed
/// afterwards. Copies that an interrupted run has made are reused. `progress` receives the bytes done, and the total.
///
/// # Errors
/// A build does not belong to the release, a file is not as recorded, or one cannot be read or written.
pub fn add_image_files(
    folder: &Path,
    release: &Release,
    builds: &[FinishedImages],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(ImageList, Vec<u8>), ImagesError> {
    let root_hash = release.images.verity.root_hash;
    ensure_of_release(
        builds,
        Expected { version: &release.version, root_hash, channels: &release.channels },
    )?;
    fs::create_dir_all(folder).map_err(|source| ImagesError::Write { path: folder.to_owned(), source })?;
    let mut list = ImageList {
        schema: SCHEMA,
        board: release.board.clone(),
        version: release.version.clone(),
        root_hash,
        files: Vec::new(),
    };
    let all = || builds.iter().flat_map(|build| &build.files);
    let mut total = 0;
    for file in all() {
        let read = |source| ImagesError::Read { path: file.path.clone(), source };
        total += fs::metadata(&file.path).map_err(read)?.len();
    }
    let mut done = 0;
    for build in builds {
        for file in &build.files {
            let name = file_name(&file.path)?;
            let (size, sha256) = copy(file, &folder.join(name.as_str()), &mut |bytes| {
                done += bytes;
                progress(done, total);
            })?;
            list.files.push(ImageFile {
                name,
                channel: build.channel.clone(),
                format: file.format.clone(),
                size,
                sha256,
                virtual_size: file.virtual_size,
            });
        }
    }
    let bytes = list.to_bytes()?;
    let path = folder.join(files::IMAGES);
    match read_images_file(folder)? {
        Some(known) if known != bytes => return Err(ImagesError::Exists(path)),
        Some(_) => {}
        None => write_file(&path, &bytes, 0o644)?,
    }
    Ok((list, bytes))
}

fn file_name(path: &Path) -> Result<FileName, ImagesError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.parse().map_err(|source| ImagesError::Name { path: path.to_owned(), source })
}

/// The list of image files in a release folder; `None` if it has none. It may not be signed.
///
/// # Errors
/// It cannot be read, or is malformed.
pub fn read_images(folder: &Path) -> Result<Option<(ImageList, Vec<u8>)>, ImagesError> {
    let Some(bytes) = read_images_file(folder)? else { return Ok(None) };
    Ok(Some((ImageList::parse(&bytes)?, bytes)))
}

/// At most one byte more than allowed.
fn read_images_file(folder: &Path) -> Result<Option<Vec<u8>>, ImagesError> {
    let path = folder.join(files::IMAGES);
    let mut bytes = Vec::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_IMAGE_LIST as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImagesError::Read { path, source }),
    }
}

/// Copies a file, unless `to` is that file already. Not a link: whoever resizes the original would change the release.
fn copy(
    file: &FinishedImage,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Digest), ImagesError> {
    let is_expected = |digest: Digest| digest.to_string() == file.sha256;
    if let Ok(mut existing) = File::open(to) {
        let hashed = hash(&mut existing, &mut |_| Ok(()));
        if let Ok((size, digest)) = hashed
            && is_expected(digest)
        {
            progress(size);
            return Ok((size, digest));
        }
    }
    let read = |source| ImagesError::Read { path: file.path.clone(), source };
    let mut from = File::open(&file.path).map_err(read)?;
    let partial = to.with_file_name(format!("{}{PARTIAL}", file_name(&file.path)?));
    let write = |source| ImagesError::Write { path: partial.clone(), source };
    let mut write_error = None;
    let mut out = File::create(&partial).map_err(write)?;
    let hashed = hash(&mut from, &mut |chunk| {
        progress(chunk.len() as u64);
        append(&mut out, chunk).inspect_err(|error| write_error = Some(error.kind()))
    });
    let finished = match (hashed, write_error) {
        (Err(source), Some(_)) => Err(write(source)),
        (Err(source), None) => Err(read(source)),
        (Ok((_, digest)), _) if !is_expected(digest) => {
            let (path, expected) = (file.path.clone(), file.sha256.clone());
            Err(ImagesError::Changed { path, found: digest, expected })
        }
        (Ok((size, digest)), _) => out
            .set_len(size)
            .and_then(|()| out.sync_all())
            .and_then(|()| fs::rename(&partial, to))
            .map(|()| (size, digest))
            .map_err(write),
    };
    if finished.is_err() {
        // The error that is returned matters more. A full disk does not stay full.
        fs::remove_file(&partial).unwrap_or_default();
    }
    finished
}

/// Disks are mostly empty: zeros become a hole.
fn append(out: &mut File, chunk: &[u8]) -> io::Result<()> {
    match chunk.iter().all(|byte| *byte == 0) {
        true => out.seek(SeekFrom::Current(i64::try_from(chunk.len()).unwrap_or(i64::MAX))).map(drop),
        false => out.write_all(chunk),
    }
}

/// Size and digest of a file, whose bytes `consume` receives.
fn hash(file: &mut File, consume: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, Digest)> {
    let (mut hasher, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok((size, Digest::from_hasher(hasher)));
        }
        size += count as u64;
        hasher.update(&chunk[..count]);
        consume(&chunk[..count])?;
    }
}

#[cfg(test)]
mod tests;
