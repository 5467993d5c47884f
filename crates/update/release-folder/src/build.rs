//! Builds releases: blobs, indexes, `release.json` and its signature.

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
    Blob, Delta, Digest, Image, Images, Keys, MAX_RELEASE, MAX_SIGNATURE, MetadataError, NameError, Payload,
    Release, SCHEMA, SEGMENTS, SignatureError, Verity, Version, files,
};
use update_core::roots;

use crate::keys::{KeysError, SigningKey};
use crate::roots::{RootError, SignedRoot, load_roots};

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
    /// As signed.
    pub release: Release,
}

/// The current step, for progress output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStep<'a> {
    /// Packs the full payload.
    Full,
    /// Packs the delta from this version.
    Delta(&'a Version),
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
    #[error("cannot verify the older release in {folder}")]
    OldSignature { folder: PathBuf, source: SignatureError },
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

/// Arguments of [`build_release`].
pub struct ReleaseSpec<'a> {
    /// What the release contains.
    pub images: ImageFiles<'a>,
    /// What the release states.
    pub info: ReleaseInfo,
    /// An offline key for releases.
    pub secret: &'a SigningKey,
    /// Release folders to create deltas from.
    pub older: &'a [PathBuf],
    /// Verify the signatures of `older`.
    pub keys: &'a Keys,
    /// zstd level. Use [`payload::DEFAULT_LEVEL`] for published releases.
    pub level: i32,
}

/// Builds a release in `folder`. Reuses the results of an interrupted run. Never changes a complete release.
pub fn build_release(
    spec: &ReleaseSpec<'_>,
    folder: &Path,
    progress: &mut dyn FnMut(BuildStep<'_>, PackProgress),
) -> Result<BuiltRelease, BuildError> {
    let ReleaseSpec { images, info, secret, older, .. } = spec;
    let options = Options { level: spec.level, ..Options::default() };
    let path = folder.join(files::RELEASE);
    if path.exists() {
        return Err(BuildError::Exists(path));
    }
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
        deltas.push(delta(old, spec, &inputs, &packed, folder, progress)?);
    }
    let image = |role: &str| {
        let found = packed.index.image(role);
        found.map_or(Image { size: 0, sha256: Digest([0; 32]) }, |image| Image {
            size: image.size,
            sha256: image.sha256,
        })
    };
    let release = Release {
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
    };
    let bytes = release.to_bytes()?;
    let signature = secret.sign(&bytes, &format!("{} {}", info.version, info.expires))?;
    write_file(&folder.join(files::RELEASE_SIGNATURE), signature.as_bytes())?;
    fs::remove_dir_all(&work_folder).map_err(|source| BuildError::Write { path: work_folder, source })?;
    // Written last: marks the folder as complete.
    write_file(&path, &bytes)?;
    Ok(BuiltRelease { folder: folder.to_owned(), release })
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
    old: &Path,
    spec: &ReleaseSpec<'_>,
    inputs: &[Input<'_>],
    full: &Packed,
    folder: &Path,
    progress: &mut dyn FnMut(BuildStep<'_>, PackProgress),
) -> Result<Delta, BuildError> {
    let older = read_release(old, spec.keys)?;
    let unpacked = tempfile::Builder::new()
        .prefix(".older-")
        .tempdir_in(folder)
        .map_err(|source| BuildError::Write { path: folder.to_owned(), source })?;
    let paths = ["usr", "uki"].map(|role| unpacked.path().join(role));
    unpack(old, &older, &paths)?;
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

/// Reads and verifies the metadata of a release folder.
fn read_release(folder: &Path, keys: &Keys) -> Result<Release, BuildError> {
    let read = |name: &str, limit: usize| {
        let path = folder.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| BuildError::Read { path, source })?;
        Ok::<_, BuildError>(bytes)
    };
    let bytes = read(files::RELEASE, MAX_RELEASE)?;
    let signature = read(files::RELEASE_SIGNATURE, MAX_SIGNATURE)?;
    keys.verify(&bytes, &String::from_utf8_lossy(&signature))
        .map_err(|source| BuildError::OldSignature { folder: folder.to_owned(), source })?;
    Ok(Release::parse(&bytes)?)
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

impl BuiltRelease {
    /// Writes a bundle, `keelson-VERSION.kup`: an uncompressed tar file with the release and the roots in its folder.
    pub fn bundle(&self, path: &Path) -> Result<(), BuildError> {
        let failed = |source| BuildError::Write { path: path.to_owned(), source };
        let partial = path.with_extension("part");
        let mut archive = tar::Builder::new(File::create(&partial).map_err(failed)?);
        let blobs = self.release.blobs().map(|blob| blob.url.as_str());
        let roots = load_roots(&self.folder)?;
        let roots: Vec<_> = roots.iter().map(|SignedRoot { version, .. }| roots::file(*version)).collect();
        let roots = roots.iter().map(String::as_str);
        for name in [files::RELEASE, files::RELEASE_SIGNATURE].into_iter().chain(roots).chain(blobs) {
            archive.append_path_with_name(self.folder.join(name), name).map_err(failed)?;
        }
        archive.into_inner().and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)
    }
}
