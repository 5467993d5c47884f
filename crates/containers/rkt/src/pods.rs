//! All pods: `pods/STAGE/UUID`. A pod moves from stage to stage by renames, which are atomic: whatever interrupts a
//! command, each pod is in one state that the next command handles.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use oci_image::Digest;
use pod::{PodState, Uuid};

use crate::pod_folder::{Lock, PodFolder};

pub const EMBRYO: &str = "embryo";
pub const PREPARE: &str = "prepare";
pub const PREPARED: &str = "prepared";
pub const RUN: &str = "run";
pub const EXITED_GARBAGE: &str = "exited-garbage";
pub const GARBAGE: &str = "garbage";
/// In the order in which pods move, so that a search in this order finds a pod that moves meanwhile.
const STAGES: [&str; 6] = [EMBRYO, PREPARE, PREPARED, RUN, EXITED_GARBAGE, GARBAGE];
const MODE: u32 = 0o700;

pub struct Pods {
    root: PathBuf,
}

impl Pods {
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        for stage in STAGES {
            let folder = root.join(stage);
            let created = DirBuilder::new().recursive(true).mode(MODE).create(&folder);
            created.with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// A new pod that is being prepared.
    pub fn create(&self) -> anyhow::Result<(PodFolder, Lock)> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("cannot get random bytes: {error}"))?;
        let uuid = Uuid::from_random(random);
        let path = self.root.join(EMBRYO).join(uuid.as_str());
        let created = DirBuilder::new().mode(MODE).create(&path);
        created.with_context(|| format!("cannot create {}", path.display()))?;
        let mut pod = PodFolder { uuid, stage: EMBRYO.to_owned(), path };
        // Locked before others see it as a pod that is being prepared.
        let lock = pod.lock()?;
        self.move_to(&mut pod, PREPARE)?;
        Ok((pod, lock))
    }

    /// Renames a pod to the next stage. The caller has its lock.
    pub fn move_to(&self, pod: &mut PodFolder, stage: &str) -> anyhow::Result<()> {
        let target = self.root.join(stage).join(pod.uuid.as_str());
        let moved = fs::rename(&pod.path, &target);
        moved.with_context(|| format!("cannot rename {} to {}", pod.path.display(), target.display()))?;
        (pod.stage, pod.path) = (stage.to_owned(), target);
        Ok(())
    }

    /// Makes a prepared pod durable. Other stages need not be: after a power cut, no pod runs, and one that is lost
    /// has left nothing.
    pub fn flush(&self, pod: &PodFolder) -> anyhow::Result<()> {
        let stage = self.root.join(&pod.stage);
        for path in [pod.path.join(crate::pod_folder::MANIFEST), pod.path.clone(), stage] {
            let flushed = File::open(&path).and_then(|file| file.sync_all());
            flushed.with_context(|| format!("cannot flush {}", path.display()))?;
        }
        Ok(())
    }

    /// The folder of networks' addresses.
    pub fn networks(&self) -> PathBuf {
        self.root.with_file_name("networks")
    }

    /// All pods, by UUID.
    pub fn list(&self) -> anyhow::Result<Vec<PodFolder>> {
        let mut pods: Vec<PodFolder> = Vec::new();
        for stage in STAGES {
            let folder = self.root.join(stage);
            let failed = || format!("cannot read {}", folder.display());
            for entry in fs::read_dir(&folder).with_context(failed)? {
                let entry = entry.with_context(failed)?;
                let Some(uuid) = entry.file_name().to_str().and_then(|name| name.parse::<Uuid>().ok()) else {
                    continue;
                };
                // It moved meanwhile: the later stage counts.
                pods.retain(|pod| pod.uuid != uuid);
                pods.push(PodFolder { uuid, stage: stage.to_owned(), path: entry.path() });
            }
        }
        pods.sort_by(|one, other| one.uuid.cmp(&other.uuid));
        Ok(pods)
    }

    /// The pod whose UUID begins with `prefix`.
    pub fn find(&self, prefix: &str) -> anyhow::Result<PodFolder> {
        Uuid::check_prefix(prefix)?;
        let mut matching = self.list()?.into_iter().filter(|pod| pod.uuid.as_str().starts_with(prefix));
        match (matching.next(), matching.next()) {
            (Some(pod), None) => Ok(pod),
            (None, _) => bail!("there is no pod {prefix}"),
            (Some(_), Some(_)) => bail!("several pods begin with {prefix}; type more of the UUID"),
        }
    }

    /// Images of pods that are prepared or run, with the pods' UUIDs.
    pub fn references(&self) -> anyhow::Result<Vec<(Digest, Uuid)>> {
        let mut references = Vec::new();
        for pod in self.list()? {
            let state = match pod.state() {
                Ok(state) => state,
                Err(_) if !pod.path.exists() => continue,
                Err(error) => return Err(error),
            };
            if matches!(state, PodState::Preparing | PodState::Prepared | PodState::Running) {
                // A pod without a manifest holds the locks of its images.
                let manifest = pod.manifest().ok().into_iter();
                references.extend(manifest.flat_map(|pod| pod.apps).map(|app| (app.image, pod.uuid.clone())));
            }
        }
        Ok(references)
    }

    /// Removes a pod whose lock the caller has.
    pub fn remove(&self, pod: &mut PodFolder) -> anyhow::Result<()> {
        if pod.stage != GARBAGE {
            self.move_to(pod, GARBAGE)?;
        }
        match fs::remove_dir_all(&pod.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", pod.path.display()))
            }
            _ => Ok(()),
        }
    }
}
