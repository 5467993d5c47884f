//! The root metadata of each application: verified as machines verify it, stored as files, served as published.
//!
//! The server never creates or signs a root: it has no root key.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde_json::Value;
use tuf::{Cause, MetadataError, Root, Signed};
use update_core::roots::{MAX_ROOT, RuleError, check, file, version, version_of};

use crate::limits::ROOTS;

const FOLDER: &str = "roots";

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("cannot access {0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} is damaged")]
    Damaged(PathBuf, #[source] Box<RootError>),
    #[error("the root metadata has {0} bytes; the maximum is {MAX_ROOT}")]
    TooLong(usize),
    #[error("malformed root metadata")]
    Malformed(#[from] MetadataError),
    #[error("machines would reject root version {0}")]
    Refused(u64, #[source] Cause),
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("it has root version {0}")]
    FileName(u64),
    #[error("root version {0} is already published with other content: published versions are immutable")]
    AlreadyPublished(u64),
    #[error("root version {found} is older than {first}, the first one on this server")]
    Older { found: u64, first: u64 },
    #[error("too many versions of root metadata: the maximum is {0}")]
    TooMany(usize),
}

/// A root in memory, with its original bytes.
#[derive(Debug, Clone)]
struct StoredRoot {
    root: Root,
    bytes: Vec<u8>,
}

/// A root that may be published.
pub struct CheckedRoot {
    pub version: u64,
    /// `None` if it is published already.
    new: Option<StoredRoot>,
}

impl CheckedRoot {
    /// `None` if it is published already.
    pub fn unpublished(&self) -> Option<&Root> {
        self.new.as_ref().map(|new| &new.root)
    }
}

/// Roots by application, ordered by version, without gaps.
pub struct Roots {
    folder: PathBuf,
    stored: Mutex<BTreeMap<String, Vec<StoredRoot>>>,
}

impl Roots {
    /// # Errors
    /// A stored root cannot be read or is damaged.
    pub fn open(data: &Path) -> Result<Self, RootError> {
        let folder = data.join(FOLDER);
        let failed = |error| RootError::Io(folder.clone(), error);
        let mut stored = BTreeMap::new();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { folder, stored: Mutex::new(stored) });
            }
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            stored.insert(entry.file_name().to_string_lossy().into_owned(), load_folder(&entry.path())?);
        }
        Ok(Self { folder, stored: Mutex::new(stored) })
    }

    /// Verifies the first root, or the successor of the newest. Stores nothing.
    ///
    /// A published root with the same `signed` part is accepted again, whatever its signatures. The file does not
    /// change then: it has enough signatures, and what machines and caches have of it remains valid.
    ///
    /// # Errors
    /// Machines would reject the root, or it breaks a rule of Keelson's.
    pub fn check(&self, app: &str, bytes: &[u8]) -> Result<CheckedRoot, RootError> {
        let stored = self.stored.lock();
        let roots = stored.get(app).map_or(&[][..], |roots| roots);
        let number = version(&parse(bytes)?);
        if let Some(published) = roots.iter().find(|stored| version(&stored.root) == number) {
            let is_same = signed_part(&published.bytes)? == signed_part(bytes)?;
            let known = CheckedRoot { version: number, new: None };
            return if is_same { Ok(known) } else { Err(RootError::AlreadyPublished(number)) };
        }
        if let Some(first) = roots.first().map(|first| version(&first.root)).filter(|first| number < *first) {
            return Err(RootError::Older { found: number, first });
        }
        let root = verify(roots.last().map(|last| &last.root), bytes)?;
        if roots.len() >= ROOTS {
            return Err(RootError::TooMany(ROOTS));
        }
        Ok(CheckedRoot { version: number, new: Some(StoredRoot { root, bytes: bytes.to_vec() }) })
    }

    /// Stores a root that was checked while no other one was stored in between. Blocks on disk I/O.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&self, app: &str, checked: CheckedRoot) -> Result<(), RootError> {
        let Some(new) = checked.new else { return Ok(()) };
        let folder = self.folder.join(app);
        fs::create_dir_all(&folder).map_err(|error| RootError::Io(folder.clone(), error))?;
        let path = folder.join(file(checked.version));
        service::file::replace(&path, &new.bytes, 0o644).map_err(|error| RootError::Io(path, error))?;
        self.stored.lock().entry(app.to_owned()).or_default().push(new);
        Ok(())
    }

    /// The applications that have roots.
    pub fn apps(&self) -> Vec<String> {
        self.stored.lock().keys().cloned().collect()
    }

    /// The versions of an application, ascending.
    pub fn versions(&self, app: &str) -> Vec<u64> {
        let stored = self.stored.lock();
        stored.get(app).into_iter().flatten().map(|stored| version(&stored.root)).collect()
    }

    /// The content of `N.root.json`, as published. `None` if there is no such version.
    pub fn file(&self, app: &str, name: &str) -> Option<Vec<u8>> {
        let wanted = version_of(name)?;
        let stored = self.stored.lock();
        let found = stored.get(app)?.iter().find(|stored| version(&stored.root) == wanted)?;
        Some(found.bytes.clone())
    }

    pub fn newest(&self, app: &str) -> Option<Root> {
        self.stored.lock().get(app)?.last().map(|stored| stored.root.clone())
    }

    /// The newest version; `None` without root metadata.
    pub fn newest_version(&self, app: &str) -> Option<u64> {
        self.stored.lock().get(app)?.last().map(|stored| version(&stored.root))
    }
}

fn parse(bytes: &[u8]) -> Result<Root, RootError> {
    if bytes.len() > MAX_ROOT {
        return Err(RootError::TooLong(bytes.len()));
    }
    Ok(Signed::<Root>::parse(bytes)?.signed)
}

/// What the signatures of parsed metadata cover.
pub fn signed_part(bytes: &[u8]) -> Result<Value, MetadataError> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(tuf::JsonError::from)?;
    Ok(value["signed"].take())
}

/// Verifies a root: the first one by its own keys, any other as the successor of `last`.
///
/// It may be expired: machines check the expiry of the last root only.
fn verify(last: Option<&Root>, bytes: &[u8]) -> Result<Root, RootError> {
    let number = version(&parse(bytes)?);
    let root = last.map_or_else(|| Root::first(bytes), |last| last.next(bytes));
    let root = root.map_err(|cause| RootError::Refused(number, cause))?;
    check(&root)?;
    Ok(root)
}

/// Loads the roots in a folder.
fn load_folder(folder: &Path) -> Result<Vec<StoredRoot>, RootError> {
    let failed = |error| RootError::Io(folder.to_owned(), error);
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        versions.extend(version_of(&name.to_string_lossy()));
    }
    versions.sort_unstable();
    let mut roots: Vec<StoredRoot> = Vec::new();
    for number in versions {
        let path = folder.join(file(number));
        let bytes = fs::read(&path).map_err(|error| RootError::Io(path.clone(), error))?;
        let root = match verify(roots.last().map(|last| &last.root), &bytes) {
            Ok(root) if version(&root) != number => Err(RootError::FileName(version(&root))),
            other => other,
        };
        let root = root.map_err(|error| RootError::Damaged(path, Box::new(error)))?;
        roots.push(StoredRoot { root, bytes });
    }
    Ok(roots)
}
