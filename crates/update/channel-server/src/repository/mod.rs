//! The repository of each application: roots and targets as published, and what the online key signs of them.
//!
//! The server never signs what a release is: it has no release key.

mod channels;
mod folder;
mod online;
mod targets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rollout::{Application, Channel, Track};
use tuf::{metadata_file, role_type};
use update_core::repository::CHANNELS;
use update_core::roots;

pub use online::{EARLIEST, SignError};
pub use targets::{
    Before, ListedError, StoredTargets, TargetsError, check_images, check_listed, check_package, check_under,
    lists_images, published, successor,
};

use crate::roots::{RootError, Roots};
use crate::signing::OnlineKey;
use folder::Folder;
use online::{Basis, Online, Signers};

/// Subfolder of a server's folder.
pub(crate) const FOLDER: &str = "repository";

/// Why there is no timestamp.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error(transparent)]
    Missing(#[from] ListedError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the signed metadata cannot be stored")]
    Store(#[from] TargetsError),
    #[error("internal error: the task failed")]
    TaskFailed,
}

/// The repositories of all applications.
pub struct Repositories {
    pub roots: Roots,
    folder: PathBuf,
    apps: Mutex<BTreeMap<String, Arc<Repository>>>,
    /// The last problem of each group that machines ask for.
    logged: Mutex<BTreeMap<(String, Track), String>>,
}

/// The repository of an application.
pub struct Repository {
    /// Held while metadata is accepted, signed and stored.
    pub changing: Arc<tokio::sync::Mutex<()>>,
    /// Locked for the time of a copy only.
    current: RwLock<Current>,
    /// Used by whoever holds `changing`.
    folder: Mutex<Folder>,
    path: PathBuf,
}

#[derive(Default, Clone)]
struct Current {
    targets: Option<Arc<StoredTargets>>,
    online: Option<Arc<Online>>,
    /// Why the online key cannot sign under these targets and the newest root.
    problem: Option<Arc<str>>,
}

impl Repositories {
    /// # Errors
    /// A stored file cannot be read or is damaged.
    pub fn open(data: &Path, key: &OnlineKey) -> Result<Self, OpenRepositoryError> {
        let roots = Roots::open(data)?;
        let all = Self { roots, folder: data.join(FOLDER), apps: Mutex::default(), logged: Mutex::default() };
        for app in all.roots.apps() {
            let repository = all.of(&app)?;
            let online = repository.folder.lock().load_online()?;
            if let Some(root) = all.roots.newest(&app) {
                let targets = repository.folder.lock().load_targets(&root, online.as_ref())?;
                *repository.current.write() =
                    Current { targets: targets.map(Arc::new), online: online.map(Arc::new), problem: None };
            }
            all.find_problem(&app, &repository, key);
        }
        Ok(all)
    }

    /// The repository of an application, empty or not.
    ///
    /// # Errors
    /// Its folder cannot be read.
    pub fn of(&self, app: &str) -> Result<Arc<Repository>, TargetsError> {
        let mut apps = self.apps.lock();
        if let Some(known) = apps.get(app) {
            return Ok(known.clone());
        }
        let path = self.folder.join(app);
        let folder = Mutex::new(Folder::open(path.clone())?);
        let new = Arc::new(Repository { changing: Arc::default(), current: RwLock::default(), folder, path });
        apps.insert(app.to_owned(), new.clone());
        Ok(new)
    }

    fn current(&self, app: &str) -> Current {
        let known = self.apps.lock().get(app).cloned();
        known.map(|repository| repository.current.read().clone()).unwrap_or_default()
    }

    /// The newest targets metadata.
    pub fn targets(&self, app: &str) -> Option<Arc<StoredTargets>> {
        self.current(app).targets
    }

    /// Why the online key cannot sign, if there are targets to sign for.
    pub fn problem(&self, app: &str) -> Option<Arc<str>> {
        self.current(app).problem
    }

    /// Whether the newest root, and the targets if there are any, list the online key.
    pub fn online_key_counts(&self, app: &str, key: &OnlineKey) -> bool {
        let Some(root) = self.roots.newest(app) else { return false };
        let is_listed = [&root.roles.timestamp, &root.roles.snapshot]
            .iter()
            .all(|role| key.listed(role, &root.keys).is_some());
        is_listed && self.problem(app).is_none()
    }

    /// Why nothing that a channel has can be offered, although it has a version.
    pub fn channel_problem(&self, key: &str, app: &Application, channel: &Channel) -> Option<String> {
        let current = self.current(key);
        let has_version = channel.package.is_some();
        match current.targets {
            _ if !has_version => None,
            None => Some(self.missing(key).to_string()),
            Some(_) if current.problem.is_some() => current.problem.map(|problem| problem.to_string()),
            Some(stored) => {
                channels::unlisted(app, channel, &stored.targets).map(|error| service::error::chain(&error))
            }
        }
    }

    /// [`Self::channel_problem`] of a group's channel.
    pub fn group_problem(&self, key: &str, app: &Application, track: &Track) -> Option<String> {
        let group = app.groups.get(track)?;
        self.channel_problem(key, app, app.channels.get(&group.group.channel)?)
    }

    /// Logs a problem of a group when it changes, not with each machine.
    pub fn log_problem(&self, key: &str, track: &Track, problem: Option<&str>) {
        let mut logged = self.logged.lock();
        if problem.is_none() && logged.is_empty() {
            return;
        }
        let group = (key.to_owned(), track.clone());
        match problem {
            Some(problem) if logged.get(&group).is_none_or(|known| known != problem) => {
                tracing::warn!(app = key, group = %track, problem, "machines get no offer");
                logged.insert(group, problem.to_owned());
            }
            Some(_) => {}
            None => drop(logged.remove(&group)),
        }
    }

    /// What there is not, if there are no targets.
    pub fn missing(&self, app: &str) -> ListedError {
        match self.roots.newest_version(app) {
            None => ListedError::NoRoot,
            Some(_) => ListedError::NoTargets,
        }
    }

    /// What has to be signed now, or why nothing can be.
    fn basis(&self, key: &str, app: &Application) -> Result<(Basis, Current), ListedError> {
        let root = self.roots.newest_version(key).ok_or(ListedError::NoRoot)?;
        let current = self.current(key);
        let stored = current.targets.as_ref().ok_or(ListedError::NoTargets)?;
        let channels = channels::channels(app, &stored.targets);
        Ok((Basis { root, targets: stored.version(), channels }, current))
    }

    /// The timestamp, if it need not be signed again.
    ///
    /// # Errors
    /// There is nothing to sign.
    pub fn fresh(&self, key: &str, app: &Application, now: u64) -> Result<Option<Bytes>, ListedError> {
        let (basis, current) = self.basis(key, app)?;
        let online = current.online.filter(|online| online.is_fresh(&basis, now) || now < EARLIEST);
        Ok(online.map(|online| online.timestamp.clone()))
    }

    /// Signs what has to be signed now. The caller holds [`Repository::changing`]. Returns what [`Self::finish`] stores.
    ///
    /// # Errors
    /// There is nothing to sign.
    pub fn prepare(&self, key: &str, app: &Application) -> Result<Prepared, ListedError> {
        let (basis, Current { targets, .. }) = self.basis(key, app)?;
        Ok(Prepared { basis, targets: targets.ok_or(ListedError::NoTargets)? })
    }

    /// Signs and stores, and returns the timestamp. The caller holds [`Repository::changing`]. Blocks on disk I/O.
    ///
    /// # Errors
    /// The key cannot sign, or the files cannot be written: what was served until now still is.
    pub fn sign(
        &self,
        app: &str,
        prepared: Prepared,
        key: &OnlineKey,
        now: u64,
    ) -> Result<Bytes, Unavailable> {
        let repository = self.of(app)?;
        let root = self.roots.newest(app).ok_or(ListedError::NoRoot)?;
        let root_file = self.roots.file(app, &roots::file(roots::version(&root))).unwrap_or_default();
        let Prepared { basis, targets } = prepared;
        let mut folder = repository.folder.lock();
        let last = repository.current.read().online.as_ref().map_or(0, |online| online.version);
        let last = last.max(folder.last_signed());
        let new = online::sign((&root, root_file), &targets, key, basis, (last, now))?;
        folder.store_online(&new)?;
        let timestamp = new.timestamp.clone();
        repository.current.write().online = Some(Arc::new(new));
        folder.prune();
        Ok(timestamp)
    }

    /// Stores targets metadata, before the root that it needs. The caller holds [`Repository::changing`]. Blocks on disk
    /// I/O.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store_targets(&self, app: &str, new: &StoredTargets) -> Result<(), TargetsError> {
        self.of(app)?.folder.lock().store_targets(new)
    }

    /// Uses what was stored: `targets` if they are new, and the newest root.
    ///
    /// # Errors
    /// The application's folder cannot be read.
    pub fn use_stored(
        &self,
        app: &str,
        targets: Option<StoredTargets>,
        key: &OnlineKey,
    ) -> Result<(), TargetsError> {
        let repository = self.of(app)?;
        if let Some(new) = targets {
            repository.current.write().targets = Some(Arc::new(new));
        }
        self.find_problem(app, &repository, key);
        Ok(())
    }

    fn find_problem(&self, app: &str, repository: &Repository, key: &OnlineKey) {
        let Some(root) = self.roots.newest(app) else { return };
        let targets = repository.current.read().targets.clone();
        let problem = targets.and_then(|targets| Signers::of(&root, &targets, key).err());
        if let Some(problem) = &problem {
            tracing::warn!(app, %problem, "the online key cannot sign");
        }
        repository.current.write().problem = problem.map(|problem| problem.to_string().into());
    }

    /// A file of the metadata except the timestamp, from memory.
    pub fn file(&self, app: &str, name: &str) -> Option<Bytes> {
        if let Some(root) = self.roots.file(app, name) {
            return Some(root.into());
        }
        let Current { targets, online, .. } = self.current(app);
        let targets = targets.map(|stored| (role_type::TARGETS, stored.version(), stored.bytes.clone()));
        let online = online.map(|online| {
            [(role_type::SNAPSHOT, online.snapshot.clone()), (CHANNELS, online.channels.clone())]
                .map(|(role, bytes)| (role, online.version, bytes))
        });
        let mut all = targets.into_iter().chain(online.into_iter().flatten());
        all.find(|(role, version, _)| metadata_file(role, Some(*version)) == name).map(|(.., bytes)| bytes)
    }

    /// The path of an older file of the metadata, if the name is that of one. It may not exist.
    pub fn older(&self, app: &str, name: &str) -> Option<PathBuf> {
        let (version, role) = folder::parse_name(name)?;
        let known = self.apps.lock().get(app).cloned()?;
        let Current { targets, online, .. } = known.current.read().clone();
        // Newer ones have never been published.
        let newest = match role {
            role_type::TARGETS => targets?.version(),
            _ => online?.version,
        };
        (version < newest).then(|| known.path.join(name))
    }
}

/// What will be signed.
pub struct Prepared {
    basis: Basis,
    targets: Arc<StoredTargets>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenRepositoryError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Targets(#[from] TargetsError),
}
