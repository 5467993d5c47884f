//! Runs the whole build step by step; each step's result is cached by its inputs.

pub mod locked_tools;
pub mod toolbox;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use progress::{Progress, Step};
use sandbox::{Sandbox, SandboxError};

pub use crate::built::Built;
use crate::crates;
use crate::disk::{self, DiskError, DiskInputs};
use crate::disk_full::DiskFull;
use crate::fetch::{DebCache, FetchError, FillReport, list_names};
use crate::initrd::{self, InitrdError};
use crate::kernel::{KernelError, index_modules, kernel_file};
use crate::lock::{Lock, LockError, Request, Tree};
use crate::mirror::{MirrorError, Mirrors};
use crate::programs::{self, ProgramsError};
use crate::recipe::{COMPOSING, DISK, INITRD, UNPACKING};
use crate::release::{Release, ReleaseError, check_channel};
use crate::resolve::{ResolveError, resolve};
use crate::system::{self, SystemError};
use crate::toolbox::ToolboxError;
use crate::tree::{FACTORY_ETC, TreeError, make_folder, remove};
use crate::umask::BuildUmask;
use crate::unpack::{Exclusions, UnpackError, unpack};
use crate::work::{Key, Work, WorkError};

pub use crate::options::{Options, user_cache};

/// Version mark of a build that deviates from the lock.
const RENEWED_MARK: &str = "renewed";
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    #[error(transparent)]
    System(#[from] SystemError),
    #[error(transparent)]
    Toolbox(#[from] ToolboxError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Initrd(#[from] InitrdError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("interrupted; the same command resumes the build")]
    Interrupted,
    #[error("{full}")]
    Full { full: DiskFull, source: Box<BuildError> },
    #[error("cannot access the files of the build")]
    Tree(#[from] TreeError),
}

/// Builds the image that the checkout describes.
pub fn build(options: &Options, progress: Progress) -> Result<Built, BuildError> {
    Build::open(options, progress).and_then(Build::run).map_err(|error| with_cause(error, options))
}

#[derive(Debug, Clone)]
pub struct Packages {
    /// The checkout's lock, or the new one if packages had to be resolved again.
    pub lock: Lock,
    /// With a mark if the lock was replaced.
    pub version: String,
}

/// Downloads every package of the checkout's lock that is not in the cache.
pub fn fill_cache(options: &Options, progress: Progress) -> Result<Packages, BuildError> {
    let mut build = Build::open(options, progress)?;
    let step = progress.step("packages");
    let filled = build.fill(&DebCache::open(&options.cache)?, &step, &Tree::ALL)?;
    step.done(&format!("{} present, {} downloaded", filled.packages, filled.downloaded));
    Ok(Packages { lock: build.lock, version: build.release.full_version() })
}

/// Replaces an error by its root cause if the user can resolve that: an interrupt or a full disk.
fn with_cause(error: BuildError, options: &Options) -> BuildError {
    // Ctrl-C also reaches the running tools, which then fail.
    if options.cancel.load(Ordering::Relaxed) {
        return BuildError::Interrupted;
    }
    let mut folders = vec![options.work.clone(), options.cache.clone(), env::temp_dir()];
    for entry in fs::read_dir(&options.work).into_iter().flatten().flatten() {
        folders.push(entry.path());
    }
    match DiskFull::from_error(&error, &folders) {
        Some(full) => BuildError::Full { full, source: Box::new(error) },
        None => error,
    }
}

struct Trees {
    tools_tree: PathBuf,
    tools: Sandbox,
    base: PathBuf,
    base_key: Key,
}

struct Build<'a> {
    options: &'a Options,
    progress: Progress,
    release: Release,
    lock: Lock,
    work: Work,
    seconds: Vec<(String, f64)>,
    _modes: BuildUmask,
}

impl<'a> Build<'a> {
    fn open(options: &'a Options, progress: Progress) -> Result<Self, BuildError> {
        check_channel(&options.channel)?;
        let modes = BuildUmask::set();
        let mut release = Release::read(&options.checkout.join("os/release.toml"))?;
        if let Some(version) = &options.version {
            release = release.with_version(version)?;
        }
        release.profile = options.profile;
        let lock = Lock::read(&options.checkout.join("os/packages.lock"))?;
        let work = Work::open(&options.work, &options.cancel, |holder| {
            progress.note(&format!("waiting for {holder}, which builds in {}", options.work.display()));
        })?;
        Ok(Self { options, progress, release, lock, work, seconds: Vec::new(), _modes: modes })
    }

    fn run(mut self) -> Result<Built, BuildError> {
        let checkout = self.options.checkout.as_path();
        let programs = programs::read(&checkout.join("os/programs.toml"))?;
        let (built, Trees { tools_tree, tools, base, base_key }) = self.programs_and_trees(&programs)?;
        let (system, system_key, initrd) = self.system(&programs, &built, &base, &base_key, &tools)?;
        let step = self.progress.step("image");
        let release = &self.release;
        let usr_key = system_key.with(DISK);
        let (usr, _) =
            self.work.result("usr", &usr_key, |folder| disk::build_usr(&system, release, &tools, folder))?;
        let inputs = DiskInputs {
            checkout,
            system: &system,
            base: &base,
            initrd: &initrd,
            release,
            channel: &self.options.channel,
            sign: self.options.sign.as_ref(),
            tools: &tools,
        };
        let disk_key = usr_key
            .with(&self.options.channel)
            .with_paths(self.options.sign.iter().flat_map(|sign| [&sign.key, &sign.certificate]))?
            .with_path(&initrd)?
            .with_path(&checkout.join("image"))?
            .with_path(&checkout.join("os/cmdline"))?;
        let (image, cached) =
            self.work.result("disk", &disk_key, |folder| disk::build_disk(&inputs, &usr, folder))?;
        let hash = disk::root_hash(&usr)?;
        let took = step.done(&format!("root hash {}...{}{}", &hash[..4], &hash[60..], cached_mark(cached)));
        self.finish_step("image", took)?;
        Ok(Built {
            checkout: checkout.to_owned(),
            version: self.release.full_version(),
            channel: self.options.channel.clone(),
            usr_root_hash: hash,
            raw: image.join("disk.raw"),
            usr_erofs: usr.join(disk::USR),
            uki: image.join(disk::UKI),
            kernel: kernel_file(&base)?,
            initrd,
            sign: self.options.sign.clone(),
            release: self.release,
            usr_tree: system,
            tools: tools_tree,
            seconds: self.seconds,
            cancel: self.options.cancel.clone(),
            work: self.work,
        })
    }

    /// Compiles the programs while packages are downloaded and unpacked: one is bound by the processors, the other by
    /// network and disk. The first failure stops both.
    fn programs_and_trees(&mut self, programs: &[programs::Program]) -> Result<(PathBuf, Trees), BuildError> {
        let (checkout, profile, progress) =
            (self.options.checkout.as_path(), self.release.profile, self.progress);
        let stop = AtomicBool::new(false);
        let compile = || {
            let step = progress.step("services");
            let built = programs::build(programs, checkout, profile, &stop, &|line| step.set(line))?;
            crates::record(programs, checkout, &built).map_err(SystemError::from)?;
            let took = step.done(&format!("{} programs built ({profile})", programs.len()));
            Ok::<_, BuildError>((built, took))
        };
        let (compiled, trees) = thread::scope(|scope| {
            let compiled = scope.spawn(compile);
            let trees = self.trees();
            stop.store(trees.is_err(), Ordering::Relaxed);
            (compiled.join(), trees)
        });
        let trees = trees?;
        // Propagates a panic of the compile thread.
        let (built, took) = compiled.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        self.finish_step("services", took)?;
        Ok((built, trees))
    }

    /// The cache, with all packages of these trees.
    fn packages(&mut self, trees: &[Tree]) -> Result<DebCache, BuildError> {
        let step = self.progress.step("packages");
        let cache = DebCache::open(&self.options.cache)?;
        let filled = self.fill(&cache, &step, trees)?;
        let source = match filled.downloaded {
            0 => "cache".to_owned(),
            count => format!("{count} downloaded"),
        };
        let took = step.done(&format!("{} present, {} MiB ({source})", filled.packages, filled.bytes >> 20));
        self.finish_step("packages", took)?;
        Ok(cache)
    }

    fn trees(&mut self) -> Result<Trees, BuildError> {
        let cache = self.packages(&[Tree::System, Tree::Tools])?;
        let started = Instant::now();
        let tools_tree = self.tools_tree(&cache)?;
        let tools = self.sandbox(&tools_tree)?;
        // The signing key may be outside of the shared folders.
        let signing = self.options.sign.iter().flat_map(|sign| [&sign.key, &sign.certificate]);
        let tools = signing.filter_map(|file| file.parent()).fold(tools, Sandbox::share);
        let base_key = self.packages_key(Tree::System)?;
        let index = |tree: &Path| Ok(index_modules(tree, &tools)?);
        let base = self.unpack_tree(Tree::System, &cache, index)?;
        self.finish_step("trees", started.elapsed())?;
        Ok(Trees { tools_tree, tools, base, base_key })
    }

    fn system(
        &mut self,
        programs: &[programs::Program],
        built: &Path,
        base: &Path,
        base_key: &Key,
        tools: &Sandbox,
    ) -> Result<(PathBuf, Key, PathBuf), BuildError> {
        let checkout = &self.options.checkout;
        let step = self.progress.step("system");
        let mut key = base_key.clone().with(COMPOSING).with(&format!("{:?}", self.release));
        for path in ["os/rootfs", "os/modes", "os/programs.toml", "units", "cloud-config"] {
            key = key.with_path(&checkout.join(path))?;
        }
        let list = (!programs.is_empty()).then_some(crates::FILE);
        for name in programs.iter().map(|program| program.binary.as_str()).chain(list) {
            key = key.with_path(&built.join(name))?;
        }
        let inputs = system::Inputs {
            checkout,
            base,
            programs,
            built,
            release: &self.release,
            lock: &self.lock,
            tools,
        };
        let (system, cached) = self.work.result("system", &key, |folder| system::compose(&inputs, folder))?;
        let (list, overlay) = (checkout.join("image/initrd.list"), checkout.join("image/initrd"));
        let layers = system::LAYERS.map(|layer| checkout.join(layer));
        let initrd_key = base_key
            .clone()
            .with(INITRD)
            .with(&self.release.os_release())
            .with_path(&system.join(FACTORY_ETC))?
            .with_path(&list)?
            .with_path(&overlay)?
            .with(&initrd::digest_of_listed(&list, &layers, &programs::installed(programs, built))?);
        let (initrd, _) = self.work.result("initrd", &initrd_key, |folder| {
            let inputs =
                initrd::Inputs { tree: &system, kernel: base, list: &list, overlay: &overlay, tools };
            initrd::make(&inputs, folder)
        })?;
        let count = self.lock.of(Tree::System).count();
        let took = step.done(&format!("/usr of {count} packages{}", cached_mark(cached)));
        self.finish_step("system", took)?;
        Ok((system, key, initrd.join(initrd::ARCHIVE)))
    }

    fn packages_key(&self, tree: Tree) -> Result<Key, BuildError> {
        let key = Key::new(UNPACKING).with(tree.name()).with_path(&self.options.checkout.join("os/cut"))?;
        // The tools process the packages, so they are inputs too.
        let tools = self.lock.of(Tree::Tools).filter(|_| tree != Tree::Tools);
        Ok(self.lock.of(tree).chain(tools).fold(key, |key, package| key.with(&package.sha256)))
    }

    /// Downloads missing packages; resolves all packages again if some are unavailable and the options allow it.
    fn fill(&mut self, cache: &DebCache, step: &Step, trees: &[Tree]) -> Result<FillReport, BuildError> {
        let report = |present: usize, of: usize| step.set(format!("{present} of {of}"));
        let unavailable = match cache.fill(&self.lock.of_trees(trees), &self.options.cancel, &report) {
            Err(FetchError::Unavailable(unavailable)) if self.options.renew_missing => unavailable,
            outcome => return Ok(outcome?),
        };
        step.set(format!(
            "{} packages are unavailable on all mirrors, resolving all packages",
            unavailable.len()
        ));
        let request = Request::read(&self.options.checkout.join("os/packages"))?;
        let newer = resolve(&request, &Mirrors::of_host()?, &self.options.apt_folder())?;
        let changes = newer.changes_since(&self.lock).join(", ");
        self.progress.note(&format!("some packages are unavailable, resolved all packages again: {changes}"));
        // All are resolved again: packages of one source depend on each other's exact version.
        self.lock = newer;
        RENEWED_MARK.clone_into(&mut self.release.mark);
        Ok(cache.fill(&self.lock.of_trees(trees), &self.options.cancel, &report)?)
    }

    fn unpack_tree(
        &self,
        tree: Tree,
        cache: &DebCache,
        finish: impl FnOnce(&Path) -> Result<(), BuildError>,
    ) -> Result<PathBuf, BuildError> {
        let kind = match tree {
            Tree::System => "packages",
            Tree::Tools => "tools",
            Tree::Toolbox => "toolbox-packages",
        };
        let exclusions = Exclusions::read(&self.options.checkout.join("os/cut"))?;
        let packages: Vec<_> = self.lock.of(tree).collect();
        let key = self.packages_key(tree)?;
        let (result, _) = self.work.result(kind, &key, |folder| {
            let step = self.progress.step("unpack");
            let report = |done: usize| step.set(format!("{kind} {done} of {}", packages.len()));
            let unpack = || unpack(&packages, cache, &exclusions, folder, &self.options.cancel, &report);
            match unpack() {
                // If one file is damaged, others may be: all are checked before any is downloaded again.
                Err(UnpackError::Damaged { .. }) => {
                    let damaged = list_names(&cache.discard_damaged(&packages)?);
                    self.progress.note(&format!("damaged in the cache, downloading again: {damaged}"));
                    cache.fill(&self.lock.of_trees(&[tree]), &self.options.cancel, &|_, _| ())?;
                    remove(folder)?;
                    make_folder(folder)?;
                    unpack()?;
                }
                outcome => outcome?,
            }
            finish(folder)?;
            step.done(&format!("{} packages into the {} tree", packages.len(), tree.name()));
            Ok::<(), BuildError>(())
        })?;
        Ok(result)
    }

    /// Records the time of a step; fails if the build was cancelled.
    fn finish_step(&mut self, step: &str, took: Duration) -> Result<(), BuildError> {
        self.seconds.push((step.to_owned(), took.as_secs_f64()));
        if self.options.cancel.load(Ordering::Relaxed) { Err(BuildError::Interrupted) } else { Ok(()) }
    }
}

fn cached_mark(cached: bool) -> &'static str {
    if cached { " (cache)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_image_keeps_the_work_folder_locked() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Work::open(folder.path(), &AtomicBool::new(true), |_| ());
        let built = Built::of_disk(folder.path(), Path::new("disk.raw"));
        assert!(matches!(open(), Err(WorkError::Stopped(_))));
        drop(built);
        open().unwrap();
    }
}
