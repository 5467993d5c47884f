//! A release in a folder: blobs, indexes, `release.json` and its signature.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use payload::verity::Parameters;
use payload::{
    Apply, ApplyError, Expected, GrowingFile, Index, Input, Old, Options, PackError, Packed, Packing, Part,
    ReadBackError, apply, pack, pack_delta, read_back_tree,
};
use release::{
    Blob, Delta, Digest, Image, Images, Keys, MAX_RELEASE, MAX_SIGNATURE, MetadataError, NameError, Payload,
    Release, SCHEMA, SEGMENTS, SignatureError, Verity, Version, files,
};

use crate::key_sets::{SetsError, sets};
use crate::keys::{KeysError, Secret};

/// The images of a version.
#[derive(Debug, Clone)]
pub struct Files<'a> {
    pub usr: &'a Path,
    pub uki: &'a Path,
    pub verity: Verity,
}

/// What is said of it.
#[derive(Debug, Clone)]
pub struct About {
    pub appid: String,
    pub board: String,
    pub channels: Vec<String>,
    pub version: Version,
    pub epoch: u64,
    /// Seconds since 1970.
    pub build_time: u64,
    /// Seconds since 1970.
    pub expires: u64,
    pub min_from: Option<Version>,
    pub notes_url: Option<String>,
}

/// What is in the folder now.
#[derive(Debug, Clone)]
pub struct Made {
    pub folder: PathBuf,
    pub release: Release,
}

/// What is being done, for the lines that long work shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    Full,
    Delta(&'a Version),
}

#[derive(Debug, thiserror::Error)]
pub enum MakeError {
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
    Sets(#[from] SetsError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("the older release in {folder}")]
    OldSignature { folder: PathBuf, source: SignatureError },
    #[error("the older release in {folder} is damaged: {what}")]
    OldDamaged { folder: PathBuf, what: String },
    #[error("the older release in {folder} cannot be unpacked")]
    OldApply { folder: PathBuf, source: Box<ApplyError> },
    /// Machines would refuse what was written.
    #[error("the hash tree that is said to belong to {path} does not")]
    Tree { path: PathBuf, source: ReadBackError },
    #[error("{0} is there and holds another release: it is never overwritten")]
    Exists(PathBuf),
}

/// What is to be made.
pub struct Order<'a> {
    pub images: Files<'a>,
    pub about: About,
    pub secret: &'a Secret,
    /// Folders of releases, to each of which a difference is made.
    pub older: &'a [PathBuf],
    /// Check the signatures of `older`.
    pub keys: &'a Keys,
    /// zstd's level: [`payload::THOROUGH`] for what is published.
    pub level: i32,
}

/// Makes a release in `folder`. What a run before made is kept; a whole release is never changed.
pub fn make(
    order: &Order<'_>,
    folder: &Path,
    progress: &mut dyn FnMut(Step<'_>, Packing),
) -> Result<Made, MakeError> {
    let Order { images, about, secret, older, .. } = order;
    let options = Options { level: order.level, ..Options::default() };
    let path = folder.join(files::RELEASE);
    if path.exists() {
        return Err(MakeError::Exists(path));
    }
    check_tree(images)?;
    fs::create_dir_all(folder).map_err(|source| MakeError::Write { path: folder.to_owned(), source })?;
    let inputs = [Input { role: "usr", path: images.usr }, Input { role: "uki", path: images.uki }];
    let work = folder.join("work");
    let packed = pack(&inputs, options, &work.join("full"), &mut |packing| progress(Step::Full, packing))?;
    let name = |kind: &str| format!("{}-{kind}", about.version);
    let full = take(&packed, folder, &name("full"))?;
    let mut deltas = Vec::new();
    for old in *older {
        deltas.push(delta(old, order, &inputs, &packed, folder, progress)?);
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
        appid: about.appid.clone(),
        board: about.board.clone(),
        channels: about.channels.clone(),
        version: about.version.clone(),
        epoch: about.epoch,
        build_time: about.build_time,
        expires: about.expires,
        min_from: about.min_from.clone(),
        images: Images { usr: image("usr"), verity: images.verity.clone(), uki: image("uki") },
        full,
        deltas,
        notes_url: about.notes_url.clone(),
    };
    let bytes = release.to_bytes()?;
    let signature = secret.sign(&bytes, &format!("{} {}", about.version, about.expires))?;
    put(&folder.join(files::RELEASE_SIGNATURE), signature.as_bytes())?;
    fs::remove_dir_all(&work).map_err(|source| MakeError::Write { path: work, source })?;
    // Last: a folder that has it is whole.
    put(&path, &bytes)?;
    Ok(Made { folder: folder.to_owned(), release })
}

fn check_tree(images: &Files<'_>) -> Result<(), MakeError> {
    let path = || images.usr.to_owned();
    let read = |source| MakeError::Read { path: path(), source };
    let file = File::open(images.usr).map_err(read)?;
    let size = file.metadata().map_err(read)?.len();
    let expected = Expected { role: "usr", size, digest: images.verity.root_hash };
    let parameters = Parameters::of(&images.verity).map_err(ReadBackError::from);
    parameters
        .and_then(|parameters| read_back_tree(&expected, &parameters, file, &mut |_| true))
        .map_err(|source| MakeError::Tree { path: path(), source })?;
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), MakeError> {
    service::file::replace(path, bytes, 0o644)
        .map_err(|source| MakeError::Write { path: path.to_owned(), source })
}

/// Gives a payload's files their own names. A link, so that a run that is cut off finds them packed.
fn take(packed: &Packed, folder: &Path, name: &str) -> Result<Payload, MakeError> {
    let place = |from: &Path, name: String, size: u64, sha256: Digest| {
        let to = folder.join(&name);
        let linked = match fs::remove_file(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(from, &to),
        };
        linked.map_err(|source| MakeError::Write { path: to, source })?;
        Ok::<_, MakeError>(Blob { url: name.parse()?, size, sha256 })
    };
    Ok(Payload {
        blob: place(&packed.blob_path, format!("{name}.blob"), packed.blob_size, packed.blob_sha256)?,
        index: place(
            &packed.index_path,
            format!("{name}.index.json"),
            packed.index_size,
            packed.index_sha256,
        )?,
        algo: SEGMENTS.to_owned(),
    })
}

/// A difference to the release in `old`.
fn delta(
    old: &Path,
    order: &Order<'_>,
    inputs: &[Input<'_>],
    full: &Packed,
    folder: &Path,
    progress: &mut dyn FnMut(Step<'_>, Packing),
) -> Result<Delta, MakeError> {
    let older = read_release(old, order.keys)?;
    let unpacked = tempfile::Builder::new()
        .prefix(".older-")
        .tempdir_in(folder)
        .map_err(|source| MakeError::Write { path: folder.to_owned(), source })?;
    let paths = ["usr", "uki"].map(|role| unpacked.path().join(role));
    unpack(old, &older, &paths)?;
    let [usr, uki] = &paths;
    let old_images = [Input { role: "usr", path: usr }, Input { role: "uki", path: uki }];
    let name = format!("{}-from-{}", order.about.version, older.version);
    let packed = pack_delta(
        Old { images: &old_images, full: Some(full) },
        inputs,
        Options { level: order.level, ..Options::default() },
        &folder.join("work").join(&name),
        &mut |packing| progress(Step::Delta(&older.version), packing),
    )?;
    Ok(Delta {
        from_version: older.version.clone(),
        from_sha256: older.images.usr.sha256,
        from_root_hash: older.images.verity.root_hash,
        payload: take(&packed, folder, &name)?,
    })
}

/// The signed metadata of a release's folder.
fn read_release(folder: &Path, keys: &Keys) -> Result<Release, MakeError> {
    let read = |name: &str, limit: usize| {
        let path = folder.join(name);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| MakeError::Read { path, source })?;
        Ok::<_, MakeError>(bytes)
    };
    let bytes = read(files::RELEASE, MAX_RELEASE)?;
    let signature = read(files::RELEASE_SIGNATURE, MAX_SIGNATURE)?;
    keys.verify(&bytes, &String::from_utf8_lossy(&signature))
        .map_err(|source| MakeError::OldSignature { folder: folder.to_owned(), source })?;
    Ok(Release::parse(&bytes)?)
}

/// The images of a release, from its full payload.
fn unpack(folder: &Path, release: &Release, paths: &[PathBuf; 2]) -> Result<(), MakeError> {
    let index_path = folder.join(release.full.index.url.as_str());
    let bytes = fs::read(&index_path).map_err(|source| MakeError::Read { path: index_path, source })?;
    let damaged = |what: &str| MakeError::OldDamaged { folder: folder.to_owned(), what: what.to_owned() };
    if Digest::of(&bytes) != release.full.index.sha256 {
        return Err(damaged("its index is not the signed one"));
    }
    let index = Index::parse(&bytes).map_err(|error| damaged(&error.to_string()))?;
    let blob_path = folder.join(release.full.blob.url.as_str());
    let mut blob = |range: Range<u64>| -> io::Result<Box<dyn Read>> {
        let mut file = File::open(&blob_path)?;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Box::new(file.take(range.end - range.start)))
    };
    let open = |path: &PathBuf| {
        GrowingFile::open(path).map_err(|source| MakeError::Write { path: path.clone(), source })
    };
    let [usr, uki] = [open(&paths[0])?, open(&paths[1])?];
    let parts =
        [Part { role: "usr", target: &usr, old: None }, Part { role: "uki", target: &uki, old: None }];
    apply(Apply {
        index: &index,
        blob: &mut blob,
        full: None,
        parts: &parts,
        look: false,
        progress: &mut |_| (),
        cancelled: &|| false,
    })
    .map_err(|source| MakeError::OldApply { folder: folder.to_owned(), source: Box::new(source) })?;
    Ok(())
}

impl Made {
    /// One file with all of it, and the sets of keys beside it, for a stick: `keelson-VERSION.kup`, an uncompressed tar
    /// file.
    pub fn bundle(&self, path: &Path) -> Result<(), MakeError> {
        let failed = |source| MakeError::Write { path: path.to_owned(), source };
        let partial = path.with_extension("part");
        let mut archive = tar::Builder::new(File::create(&partial).map_err(failed)?);
        let blobs = self.release.blobs().map(|blob| blob.url.as_str());
        let sets = sets(&self.folder)?;
        let sets: Vec<_> =
            sets.iter().flat_map(|set| [files::keys(set.epoch), files::keys_signatures(set.epoch)]).collect();
        let sets = sets.iter().map(String::as_str);
        for name in [files::RELEASE, files::RELEASE_SIGNATURE].into_iter().chain(sets).chain(blobs) {
            archive.append_path_with_name(self.folder.join(name), name).map_err(failed)?;
        }
        archive.into_inner().and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)
    }
}
