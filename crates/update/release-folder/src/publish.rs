//! The list of releases to publish: it keeps what others published since this folder's list was signed.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use release::{ImageList, MAX_RELEASE, Release, files};
use tuf::{Root, Signer, Targets};
use update_core::repository::{
    RepositoryError, TARGETS_FILE, add_images, add_release, images_target, next_targets, release_target,
};
use update_core::roots;

use crate::images::{ImagesError, read_images};
use crate::roots::latest_complete;
use crate::sign::signed_part;
use crate::targets::{
    TargetsError, TargetsStatus, ensure_listed, is_current, parse, read_targets, sign_new, status_of, write,
};

/// Provides the release key, once a signature is necessary: its place, for errors, and the unlocked key.
pub type Unlock<'a> = dyn FnMut() -> Result<(PathBuf, Box<dyn Signer>), TargetsError> + 'a;

/// What to publish.
#[derive(Debug, Clone, Copy)]
pub struct Publication<'a> {
    /// Folder of a release; `None` to publish the list alone.
    pub release: Option<&'a Path>,
    /// The images in the release folder were added now: they may be signed. Otherwise release keys have signed them.
    pub signs_images: bool,
    /// Folder of the keys, if there is one: a publisher without keys sends the list of the release folder.
    pub keys: Option<&'a Path>,
    /// The server's `targets.json`, if it has one.
    pub server: Option<&'a [u8]>,
}

/// Targets metadata of one place.
struct Candidate {
    path: PathBuf,
    bytes: Vec<u8>,
    /// `None` if release keys of the root did not sign it: it is no source of releases.
    verified: Option<Targets>,
    version: NonZeroU64,
}

impl Candidate {
    fn read(path: &Path, bytes: &[u8], root: &Root) -> Result<Self, TargetsError> {
        let version = parse(path, bytes)?.header.version;
        let verified = root.targets(bytes, 0).ok();
        Ok(Self { path: path.to_owned(), bytes: bytes.to_vec(), verified, version })
    }

    /// Whether it can be published as it is: after `server`, all of whose releases it has.
    fn follows(&self, root: &Root, server: Option<&Self>) -> Result<bool, TargetsError> {
        let Some(targets) = &self.verified else { return Ok(false) };
        let follows = server.is_none_or(|server| {
            let is_same = signed_part(&self.bytes) == signed_part(&server.bytes);
            let releases = server.verified.iter().flat_map(|server| &server.targets);
            let has_all = || releases.clone().all(|(path, file)| targets.targets.get(path) == Some(file));
            is_same || (self.version > server.version && has_all())
        });
        Ok(follows && is_current(targets, root)?)
    }
}

/// The targets metadata to publish a release with. It has every release of the server's list that release keys of the
/// newest root signed, in a later version. Signs a new one only if there is none yet, and writes it to both folders.
///
/// Returns its status and bytes; with a threshold of several release keys, signatures may be missing.
///
/// # Errors
/// The release is not listed, another release of its version is published, or a file cannot be read, signed or written.
pub fn targets_to_publish(
    publication: Publication<'_>,
    unlock: &mut Unlock<'_>,
) -> Result<(TargetsStatus, Vec<u8>), TargetsError> {
    let Publication { release: release_folder, signs_images, keys, server } = publication;
    let folders: Vec<&Path> = keys.into_iter().chain(release_folder).collect();
    let roots = folders.iter().map(|folder| latest_complete(folder)).collect::<Result<Vec<_>, _>>()?;
    let root = roots.into_iter().flatten().max_by_key(roots::version);
    let root =
        root.ok_or_else(|| TargetsError::NoRoot(folders.first().unwrap_or(&Path::new(".")).to_path_buf()))?;
    let server = server.map(|bytes| Candidate::read(Path::new("targets.json of the server"), bytes, &root));
    let server = server.transpose()?;
    let mut own = Vec::new();
    for folder in &folders {
        let path = folder.join(TARGETS_FILE);
        if let Some(bytes) = read_targets(&path)? {
            own.push(Candidate::read(&path, &bytes, &root)?);
        }
    }
    let all = || own.iter().chain(&server);
    let release = release_folder.map(Contents::read).transpose()?;
    if let Some(release) = &release {
        release.ensure_listed(signs_images, &all().collect::<Vec<_>>(), &root)?;
    }
    let lists = |one: &&Candidate| {
        let targets = one.verified.as_ref();
        release.as_ref().is_none_or(|release| {
            let all_listed =
                |targets| release.targets(true).all(|(path, bytes)| lists(targets, &path, bytes));
            targets.is_some_and(all_listed)
        })
    };
    let ready = all().filter(lists).find_map(|one| match one.follows(&root, server.as_ref()) {
        Ok(true) => Some(Ok(one)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    });
    if let Some(one) = ready.transpose()? {
        if let Some(keys) = keys {
            keep(one, &own, &keys.join(TARGETS_FILE), &root)?;
        }
        return Ok((status_of(&one.path, &one.bytes, &root)?, one.bytes.clone()));
    }
    let mut base = Targets::new(root.header.expires);
    // The server's releases count more than those that nobody has.
    for targets in own.iter().rev().chain(&server).filter_map(|one| one.verified.as_ref()) {
        base.targets.extend(targets.targets.clone());
    }
    let mut next = match all().map(|one| one.version).max() {
        Some(highest) => {
            base.header.version = highest;
            next_targets(&root, Some(&base))?
        }
        None => next_targets(&root, None)?,
    };
    if let Some(contents) = &release {
        add_release(&mut next, &contents.release, &contents.bytes)?;
        if let Some((images, bytes)) = &contents.images {
            add_images(&mut next, images, bytes)?;
        }
    }
    let (key, signer) = unlock()?;
    ensure_listed(&key, &*signer, &root)?;
    let paths: Vec<_> = folders.iter().map(|folder| folder.join(TARGETS_FILE)).collect();
    let path = paths.first().cloned().unwrap_or_default();
    let signed = sign_new(&path, &next, &root, &[&*signer])?;
    for path in &paths {
        write(path, &signed, &root)?;
    }
    Ok((status_of(&path, &signed, &root)?, signed))
}

/// Writes a newer list to the folder of keys, unless that has releases which this one lacks.
fn keep(one: &Candidate, own: &[Candidate], path: &Path, root: &Root) -> Result<(), TargetsError> {
    let is_lost = own.iter().find(|own| own.path == path).is_some_and(|own| {
        let releases = own.verified.iter().flat_map(|own| &own.targets);
        let has = |path: &String| one.verified.as_ref().is_some_and(|new| new.targets.contains_key(path));
        own.version >= one.version && own.verified.is_some() || !releases.clone().all(|(path, _)| has(path))
    });
    if !is_lost {
        write(path, &one.bytes, root)?;
    }
    Ok(())
}

/// Whether `targets` list these bytes at `path`.
fn lists(targets: &Targets, path: &str, bytes: &[u8]) -> bool {
    targets.targets.get(path).is_some_and(|listed| listed.verify(bytes).is_ok())
}

/// The descriptions in a release folder.
struct Contents {
    release: Release,
    bytes: Vec<u8>,
    images: Option<(ImageList, Vec<u8>)>,
}

impl Contents {
    fn read(folder: &Path) -> Result<Self, TargetsError> {
        let path = folder.join(files::RELEASE);
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(MAX_RELEASE as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| TargetsError::Read { path: path.clone(), source })?;
        let release = Release::parse(&bytes).map_err(|source| TargetsError::Release { path, source })?;
        let images = read_images(folder)?;
        if let Some((list, _)) = &images {
            let foreign = |source| ImagesError::Foreign { record: folder.join(files::IMAGES), source };
            list.ensure_of(&release).map_err(foreign)?;
        }
        Ok(Self { release, bytes, images })
    }

    /// Paths and bytes of the targets that list it, with those of its images or without.
    fn targets(&self, with_images: bool) -> impl Iterator<Item = (String, &[u8])> {
        let (board, version) = (&self.release.board, &self.release.version);
        let images = self.images.as_ref().filter(|_| with_images);
        let images = images.map(|(_, bytes)| (images_target(board, version), &**bytes));
        std::iter::once((release_target(board, version), &*self.bytes)).chain(images)
    }

    /// Fails unless release keys signed the release before, and its images unless these may be signed now: whoever
    /// publishes a folder does not look into it.
    fn ensure_listed(
        &self,
        signs_images: bool,
        candidates: &[&Candidate],
        root: &Root,
    ) -> Result<(), TargetsError> {
        let release = release_target(&self.release.board, &self.release.version);
        self.targets(!signs_images).try_for_each(|(path, bytes)| {
            match place_of(&path, bytes, candidates, root)? {
                Found::Listed => Ok(()),
                found => Err(self.not_listed(path == release, found == Found::Other).into()),
            }
        })
    }

    fn not_listed(&self, is_release: bool, is_other: bool) -> RepositoryError {
        let (version, board) = (self.release.version.clone(), self.release.board.clone());
        match (is_release, is_other) {
            (true, true) => RepositoryError::OtherRelease { version, board },
            (true, false) => RepositoryError::NotListed { version, board },
            (false, true) => RepositoryError::OtherImages { version, board },
            (false, false) => RepositoryError::NoImages { version, board },
        }
    }
}

/// What release keys signed at a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Listed,
    Other,
    Nothing,
}

fn place_of(path: &str, bytes: &[u8], candidates: &[&Candidate], root: &Root) -> Result<Found, TargetsError> {
    let mut found = Found::Nothing;
    for targets in candidates.iter().filter_map(|one| one.verified.as_ref()) {
        if lists(targets, path, bytes) {
            return Ok(Found::Listed);
        }
        if targets.targets.contains_key(path) {
            found = Found::Other;
        }
    }
    // Some of several release keys signed it.
    for one in candidates.iter().filter(|one| one.verified.is_none()) {
        let status = status_of(&one.path, &one.bytes, root)?;
        if !status.signed_by.is_empty() && lists(&status.targets, path, bytes) {
            status.ensure_complete()?;
        }
    }
    Ok(found)
}

#[cfg(test)]
pub(crate) mod tests;
