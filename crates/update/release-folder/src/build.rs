//! Builds releases: blobs, indexes, `release.json`, and `targets.json`, which lists and signs it.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use payload::verity::Parameters;
use payload::{
    Apply, ApplyError, DeltaBase, Expected, GrowingFile, ImageTarget, Index, Input, Options, PackError,
    PackProgress, Packed, ReadBackError, apply, pack, pack_delta, read_back_tree,
};
use release::{
    Blob, Delta, Digest, Image, Images, MAX_RELEASE, MetadataError, NameError, Payload, Release, SCHEMA,
    SEGMENTS, Verity, Version, files,
};
use tuf::{Root, Signer, Targets};
use update_core::repository::{
    RepositoryError, TARGETS_FILE, add_images, add_release, next_targets, release_target,
};

use crate::images::{self, FinishedImages, ImagesError, add_image_files, ensure_of_release};
use crate::keys::KeysError;
use crate::roots::{RootError, copy_roots};
use crate::targets::{self, TargetsError, TargetsStatus, ensure_listed, load_targets, newest_root, sign_new};

/// Image files of a version.
#[derive(Debug, Clone)]
pub struct ImageFiles<'a> {
    /// The file system of `/usr`.
    pub usr: &'a Path,
    /// The boot image.
    pub uki: &'a Path,
    /// Parameters and root hash of the tree that `usr` was built with.
    pub verity: Verity,
}

/// Properties of a release.
#[derive(Debug, Clone)]
pub struct ReleaseInfo {
    /// UUID of the product, in braces.
    pub appid: String,
    /// `amd64-usr`.
    pub board: String,
    /// Channels that may offer it; at least one.
    pub channels: Vec<String>,
    /// Of all images.
    pub version: Version,
    /// Of the release signing key; see [`Release::epoch`].
    pub epoch: u64,
    /// Unix time in seconds.
    pub build_time: u64,
    /// Unix time in seconds.
    pub expires: u64,
    /// The oldest version that can update to this one directly; `None`: any.
    pub min_from: Option<Version>,
    /// For operators.
    pub notes_url: Option<String>,
}

/// A complete release folder.
#[derive(Debug, Clone)]
pub struct BuiltRelease {
    /// As passed to [`build_release`].
    pub folder: PathBuf,
    /// As listed by `targets`.
    pub release: Release,
    /// Its `targets.json`. With a threshold of several release keys, more of them must sign it.
    pub targets: TargetsStatus,
}

/// The current step, for progress output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStep<'a> {
    /// Packs the full payload.
    Full,
    /// Packs the delta from this version.
    Delta(&'a Version),
    /// Copies image files.
    Images,
}

/// Why no release was built. The next run reuses the payloads of this one.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum BuildError {
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Roots(#[from] RootError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Targets(Box<TargetsError>),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Images(Box<ImagesError>),
    #[error(
        "targets.json does not list the older release in {0}: its release.json is changed, or of other keys"
    )]
    OldNotListed(PathBuf),
    #[error(
        "targets.json already lists version {version} for {board}: versions are immutable, use another version"
    )]
    Listed { version: Version, board: String },
    #[error("the older release in {folder} is damaged: {what}")]
    OldDamaged { folder: PathBuf, what: String },
    #[error("cannot unpack the older release in {folder}")]
    OldApply { folder: PathBuf, source: Box<ApplyError> },
    /// Machines would reject the result.
    #[error("the hash tree does not match {path}")]
    Tree { path: PathBuf, source: ReadBackError },
    #[error("{0} already contains another release, which is not overwritten")]
    Exists(PathBuf),
}

impl From<TargetsError> for BuildError {
    fn from(error: TargetsError) -> Self {
        Self::Targets(Box::new(error))
    }
}

impl From<ImagesError> for BuildError {
    fn from(error: ImagesError) -> Self {
        Self::Images(Box::new(error))
    }
}

/// Arguments of [`build_release`].
pub struct ReleaseSpec<'a> {
    /// What the release contains.
    pub images: ImageFiles<'a>,
    /// What the release states.
    pub info: ReleaseInfo,
    /// A release key of the newest complete root.
    pub signer: &'a dyn Signer,
    /// Release folders to create deltas from.
    pub older: &'a [PathBuf],
    /// Image files for new machines.
    pub image_files: &'a [FinishedImages],
    /// Folder of the roots and of `targets.json`, which lists `older`, and the release afterwards.
    pub keys: &'a Path,
    /// zstd level. Use [`payload::DEFAULT_LEVEL`] for published releases.
    pub level: i32,
}

/// The root and the list of releases in a folder of keys, for the next release. Without a list, an empty one.
///
/// # Errors
/// They cannot be read, are not fully signed, or already list the version.
pub fn releases_before(
    keys: &Path,
    board: &str,
    version: &Version,
) -> Result<(Root, Option<Targets>), BuildError> {
    let root = newest_root(keys)?;
    let targets = load_targets(keys, &root)?;
    let path = release_target(board, version);
    if targets.as_ref().is_some_and(|targets| targets.targets.contains_key(&path)) {
        return Err(BuildError::Listed { version: version.clone(), board: board.to_owned() });
    }
    Ok((root, targets))
}

/// Builds a release in `folder`. Reuses the results of an interrupted run. Never changes a complete release.
pub fn build_release(
    spec: &ReleaseSpec<'_>,
    folder: &Path,
    progress: &mut dyn FnMut(BuildStep<'_>, PackProgress),
) -> Result<BuiltRelease, BuildError> {
    let ReleaseSpec { images, info, signer, older, .. } = spec;
    let options = Options { level: spec.level, ..Options::default() };
    let path = folder.join(files::RELEASE);
    if path.exists() {
        return Err(BuildError::Exists(path));
    }
    let (root, before) = releases_before(spec.keys, &info.board, &info.version)?;
    ensure_listed(Path::new("the key of the release"), *signer, &root)?;
    let (version, root_hash) = (&info.version, images.verity.root_hash);
    ensure_of_release(spec.image_files, images::Expected { version, root_hash, channels: &info.channels })?;
    check_tree(images)?;
    fs::create_dir_all(folder).map_err(|source| BuildError::Write { path: folder.to_owned(), source })?;
    let inputs = [Input { role: "usr", path: images.usr }, Input { role: "uki", path: images.uki }];
    let work_folder = folder.join("work");
    let packed = pack(&inputs, options, &work_folder.join("full"), &mut |pack_progress| {
        progress(BuildStep::Full, pack_progress)
    })?;
    let name = |kind: &str| format!("{}-{kind}", info.version);
    let full = link_payload(&packed, folder, &name("full"))?;
    let mut deltas = Vec::new();
    for old in *older {
        let older = read_release(old, before.as_ref())?;
        deltas.push(delta((old, &older), spec, &inputs, &packed, folder, progress)?);
    }
    let release = describe(spec, &packed.index, full, deltas);
    let bytes = release.to_bytes()?;
    let mut targets = next_targets(&root, before.as_ref())?;
    add_release(&mut targets, &release, &bytes)?;
    if !spec.image_files.is_empty() {
        let (list, bytes) = add_image_files(folder, &release, spec.image_files, &mut |done, total| {
            progress(BuildStep::Images, PackProgress { done, total })
        })?;
        add_images(&mut targets, &list, &bytes)?;
    }
    let targets_path = folder.join(TARGETS_FILE);
    let signed = sign_new(&targets_path, &targets, &root, &[*signer])?;
    copy_roots(spec.keys, folder)?;
    let targets = targets::write(&targets_path, &signed, &root)?;
    fs::remove_dir_all(&work_folder).map_err(|source| BuildError::Write { path: work_folder, source })?;
    // Marks the folder as complete.
    write_file(&path, &bytes)?;
    // After it: an interrupted run must not list a release that the next run makes again, with other bytes. `keelson publish`
    // adds a release that this list lacks.
    targets::write(&spec.keys.join(TARGETS_FILE), &signed, &root)?;
    Ok(BuiltRelease { folder: folder.to_owned(), release, targets })
}

fn describe(spec: &ReleaseSpec<'_>, index: &Index, full: Payload, deltas: Vec<Delta>) -> Release {
    let ReleaseSpec { images, info, .. } = spec;
    let image = |role: &str| {
        let found = index.image(role);
        found.map_or(Image { size: 0, sha256: Digest([0; 32]) }, |image| Image {
            size: image.size,
            sha256: image.sha256,
        })
    };
    Release {
        schema: SCHEMA,
        appid: info.appid.clone(),
        board: info.board.clone(),
        channels: info.channels.clone(),
        version: info.version.clone(),
        epoch: info.epoch,
        build_time: info.build_time,
        expires: info.expires,
        min_from: info.min_from.clone(),
        images: Images { usr: image("usr"), verity: images.verity.clone(), uki: image("uki") },
        full,
        deltas,
        notes_url: info.notes_url.clone(),
    }
}

fn check_tree(images: &ImageFiles<'_>) -> Result<(), BuildError> {
    let path = || images.usr.to_owned();
    let read = |source| BuildError::Read { path: path(), source };
    let file = File::open(images.usr).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    let expected = Expected { role: "usr", size, digest: images.verity.root_hash };
    let parameters = Parameters::of(&images.verity).map_err(ReadBackError::from);
    parameters
        .and_then(|parameters| read_back_tree(&expected, &parameters, file, &mut |_| true))
        .map_err(|source| BuildError::Tree { path: path(), source })?;
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    service::file::replace(path, bytes, 0o644)
        .map_err(|source| BuildError::Write { path: path.to_owned(), source })
}

/// Hard-links a payload's files to their final names, so that an interrupted run finds them packed.
fn link_payload(packed: &Packed, folder: &Path, name: &str) -> Result<Payload, BuildError> {
    let link_file = |from: &Path, name: String, size: u64, sha256: Digest| {
        let to = folder.join(&name);
        let linked = match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(from, &to),
        };
        linked.map_err(|source| BuildError::Write { path: to, source })?;
        Ok::<_, BuildError>(Blob { url: name.parse()?, size, sha256 })
    };
    Ok(Payload {
        blob: link_file(&packed.blob_path, format!("{name}.blob"), packed.blob_size, packed.blob_sha256)?,
        index: link_file(
            &packed.index_path,
            format!("{name}.index.json"),
            packed.index_size,
            packed.index_sha256,
        )?,
        algo: SEGMENTS.to_owned(),
    })
}

/// Creates a delta from the release in `old`.
fn delta(
    (old, older): (&Path, &Release),
    spec: &ReleaseSpec<'_>,
    inputs: &[Input<'_>],
    full: &Packed,
    folder: &Path,
    progress: &mut dyn FnMut(BuildStep<'_>, PackProgress),
) -> Result<Delta, BuildError> {
    let unpacked = tempfile::Builder::new()
        .prefix(".older-")
        .tempdir_in(folder)
        .map_err(|source| BuildError::Write { path: folder.to_owned(), source })?;
    let paths = ["usr", "uki"].map(|role| unpacked.path().join(role));
    unpack(old, older, &paths)?;
    let [usr, uki] = &paths;
    let old_images = [Input { role: "usr", path: usr }, Input { role: "uki", path: uki }];
    let name = format!("{}-from-{}", spec.info.version, older.version);
    let packed = pack_delta(
        DeltaBase { images: &old_images, full: Some(full) },
        inputs,
        Options { level: spec.level, ..Options::default() },
        &folder.join("work").join(&name),
        &mut |pack_progress| progress(BuildStep::Delta(&older.version), pack_progress),
    )?;
    Ok(Delta {
        from_version: older.version.clone(),
        from_sha256: older.images.usr.sha256,
        from_root_hash: older.images.verity.root_hash,
        payload: link_payload(&packed, folder, &name)?,
    })
}

/// Reads the `release.json` of a folder, which `targets` must list. Parses nothing before its digest is verified.
fn read_release(folder: &Path, targets: Option<&Targets>) -> Result<Release, BuildError> {
    let bytes = read_release_file(folder)?;
    let is_listed =
        targets.is_some_and(|targets| targets.targets.values().any(|listed| listed.verify(&bytes).is_ok()));
    if !is_listed {
        return Err(BuildError::OldNotListed(folder.to_owned()));
    }
    Ok(Release::parse(&bytes)?)
}

/// The bytes of a folder's `release.json`, at most one more than allowed.
fn read_release_file(folder: &Path) -> Result<Vec<u8>, BuildError> {
    let path = folder.join(files::RELEASE);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_RELEASE as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|source| BuildError::Read { path, source })?;
    Ok(bytes)
}

/// Unpacks the images of a release from its full payload.
fn unpack(folder: &Path, release: &Release, paths: &[PathBuf; 2]) -> Result<(), BuildError> {
    let index_path = folder.join(release.full.index.url.as_str());
    let bytes = fs::read(&index_path).map_err(|source| BuildError::Read { path: index_path, source })?;
    let damaged = |what: &str| BuildError::OldDamaged { folder: folder.to_owned(), what: what.to_owned() };
    if Digest::of(&bytes) != release.full.index.sha256 {
        return Err(damaged("its index does not match the signed hash"));
    }
    let index = Index::parse(&bytes).map_err(|error| damaged(&error.to_string()))?;
    let blob_path = folder.join(release.full.blob.url.as_str());
    let mut blob = |range: Range<u64>| -> io::Result<Box<dyn Read>> {
        let mut file = File::open(&blob_path)?;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Box::new(file.take(range.end - range.start)))
    };
    let open = |path: &PathBuf| {
        GrowingFile::open(path).map_err(|source| BuildError::Write { path: path.clone(), source })
    };
    let [usr, uki] = [open(&paths[0])?, open(&paths[1])?];
    let parts = [
        ImageTarget { role: "usr", target: &usr, old: None },
        ImageTarget { role: "uki", target: &uki, old: None },
    ];
    apply(Apply {
        index: &index,
        blob: &mut blob,
        full: None,
        parts: &parts,
        unpacker: &mut payload::LocalUnpacker::default(),
        resume: false,
        progress: &mut |_| (),
        cancelled: &|| false,
    })
    .map_err(|source| BuildError::OldApply { folder: folder.to_owned(), source: Box::new(source) })?;
    Ok(())
}
