//! Test harness: copies of the checkout, of the package cache and of work folders.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use image::build::{Options, fill_cache};
use image::crates;
use image::programs::{self, Profile};
use image::tree::{clone_with_hard_links, make_folder, walk};
use progress::Progress;

/// Timeout of any operation on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// Parts of the checkout that are inputs of an image, besides the programs.
const SOURCES: [&str; 4] = ["os", "image", "units", "cloud-config"];

pub fn checkout() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")).unwrap()
}

/// The folder that `cargo verify image` provides: on a real disk, initially empty, removed afterwards.
pub fn folder() -> PathBuf {
    let path = std::env::var_os("KEELSON_BUILDS");
    PathBuf::from(path.expect("KEELSON_BUILDS names an empty folder; run these by `cargo verify image`"))
}

/// Reports why a test cannot run on this host, to stderr and to the list that `cargo verify` shows.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED: {test}: {reason}");
    let mut list = File::options().create(true).append(true).open(folder().join("skipped")).unwrap();
    writeln!(list, "{test}: {reason}").unwrap();
}

pub struct Harness {
    /// For `CARGO_TARGET_DIR`.
    pub programs: PathBuf,
    /// For `XDG_CACHE_HOME`; contains every package.
    pub cache: PathBuf,
    pub keelson: PathBuf,
}

pub fn harness() -> &'static Harness {
    static SHARED: OnceLock<Harness> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (checkout, folder) = (checkout(), folder());
        // A package may have been removed from all mirrors meanwhile.
        let options =
            Options { renew_missing: true, work: folder.join("filling"), ..Options::for_checkout(&checkout) };
        let lock = fill_cache(&options, Progress::Visible).unwrap().lock;
        copy(&checkout.join("os"), &folder.join("locked/os"));
        lock.write(&folder.join("locked/os/packages.lock")).unwrap();
        let list = programs::read(&checkout.join("os/programs.toml")).unwrap();
        let built =
            programs::build(&list, &checkout, Profile::Node, &AtomicBool::new(false), &|_| ()).unwrap();
        let harness = Harness {
            programs: folder.join("programs"),
            cache: folder.join("cache"),
            keelson: folder.join("keelson"),
        };
        make_folder(&harness.programs.join("node")).unwrap();
        crates::record(&list, &checkout, &built).unwrap();
        for name in list.iter().map(|program| program.binary.as_str()).chain([crates::FILE]) {
            fs::copy(built.join(name), harness.programs.join("node").join(name)).unwrap();
        }
        fs::copy(std::env::var_os("KEELSON").expect("KEELSON names the program"), &harness.keelson).unwrap();
        make_folder(&harness.cache.join("keelson/debs/partial")).unwrap();
        for package in &lock.packages {
            let name = format!("{}.deb", package.sha256);
            link_or_copy(&options.cache.join(&name), &harness.cache.join("keelson/debs").join(&name));
        }
        harness
    })
}

/// Falls back to a copy if the cache is on another disk. Linked files are only replaced, never modified.
pub fn link_or_copy(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

/// Creates a package cache with all packages, for `XDG_CACHE_HOME`.
pub fn copy_cache(name: &str) -> PathBuf {
    let cache = folder().join(name);
    make_folder(&cache.join("keelson/debs/partial")).unwrap();
    for entry in fs::read_dir(harness().cache.join("keelson/debs")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            link_or_copy(&entry.path(), &cache.join("keelson/debs").join(entry.file_name()));
        }
    }
    cache
}

/// Creates a checkout for image builds, with the lock that matches the shared cache.
pub fn copy_checkout(folder_path: &Path) -> PathBuf {
    harness();
    for name in SOURCES {
        copy(&checkout().join(name), &folder_path.join(name));
    }
    // With the same manifests the list of crates is valid.
    for manifest in crates::manifests(&checkout()).unwrap() {
        let copied = folder_path.join(manifest.strip_prefix(checkout()).unwrap());
        make_folder(copied.parent().unwrap()).unwrap();
        fs::copy(&manifest, copied).unwrap();
    }
    fs::copy(folder().join("locked/os/packages.lock"), folder_path.join("os/packages.lock")).unwrap();
    folder_path.to_path_buf()
}

/// `cp -r --preserve=mode,links`, but with new times.
pub fn copy(from: &Path, to: &Path) {
    make_folder(to.parent().unwrap()).unwrap();
    let status =
        Command::new("cp").args(["-r", "--no-dereference", "--preserve=mode"]).arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp {} {}", from.display(), to.display());
}

#[derive(Clone)]
pub struct Build {
    pub checkout: PathBuf,
    pub work: PathBuf,
    pub out: PathBuf,
    pub cache: PathBuf,
    pub formats: &'static str,
    pub arguments: Vec<String>,
    /// A program with its arguments that runs `keelson`.
    pub before: Vec<String>,
    pub environment: Vec<(&'static str, OsString)>,
    /// Keeps the folder until the build is dropped.
    pub _place: Arc<ScratchFolder>,
}

/// A folder of some gigabytes. Drop removes it, because those of all tests would fill the disk; folders of failed
/// tests are kept until the end.
pub struct ScratchFolder(PathBuf);

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Failures are ignored: everything is removed at the end.
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

impl Build {
    /// Everything is in `folder()/name`; raw format only.
    pub fn new(name: &str) -> Self {
        let folder_path = folder().join(name);
        Self {
            checkout: copy_checkout(&folder_path.join("checkout")),
            work: folder_path.join("checkout/target/image"),
            out: folder_path.join("out"),
            cache: harness().cache.clone(),
            formats: "raw",
            arguments: Vec::new(),
            before: Vec::new(),
            environment: Vec::new(),
            _place: Arc::new(ScratchFolder(folder_path)),
        }
    }

    /// Like [`new`](Self::new), with the results of the first build except for the `removed` kinds.
    pub fn resumed(name: &str, removed: &[&str]) -> Self {
        let build = Self::new(name);
        let from = &first().build.work;
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_name();
            // Except for the lock: a hard link would be the same lock.
            if entry.file_type().unwrap().is_dir() && !removed.iter().any(|removed| kind == *removed) {
                clone_with_hard_links(&entry.path(), &build.work.join(&kind)).unwrap();
            }
        }
        make_folder(&build.work).unwrap();
        build
    }

    /// Runs the build in a shell as `"$@"` of `script`, started by the command `before`.
    pub fn in_shell(mut self, before: &[&str], script: &str) -> Self {
        let arguments = ["sh", "-c", script, "sh"];
        self.before = before.iter().chain(&arguments).map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// Those that `keelson` has in this checkout.
    pub fn options(&self) -> Options {
        Options {
            work: self.work.clone(),
            cache: self.cache.join("keelson/debs"),
            ..Options::for_checkout(&self.checkout)
        }
    }

    /// `keelson` with `arguments` in the checkout, with a minimal environment.
    pub fn keelson(&self, arguments: &[&str]) -> Command {
        let harness = harness();
        let mut command = match self.before.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&harness.keelson);
                command
            }
            None => Command::new(&harness.keelson),
        };
        command.args(arguments).current_dir(&self.checkout).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder().join("home"));
        // No state may be written.
        command.env("XDG_STATE_HOME", "/nonexistent");
        // The programs are already built.
        command.env("CARGO", "true").env("CARGO_TARGET_DIR", &harness.programs);
        command.env("XDG_CACHE_HOME", &self.cache).envs(self.environment.clone());
        command
    }

    /// A relative path if possible, like a user's: some steps run in a sandbox in another folder.
    fn out_as_typed(&self) -> PathBuf {
        match (self.out.parent() == self.checkout.parent(), self.out.file_name()) {
            (true, Some(name)) => Path::new("..").join(name),
            _ => self.out.clone(),
        }
    }

    pub fn start(&self) -> Running {
        make_folder(&self.out).unwrap();
        let log = self.out.with_extension("stderr");
        let json = self.out.with_extension("json");
        let mut command = self.keelson(&["--json", "image", "build", "--format", self.formats]);
        command.args(&self.arguments);
        command.arg("--work").arg(&self.work).arg("--out").arg(self.out_as_typed());
        command.stdout(File::create(&json).unwrap()).stderr(File::create(&log).unwrap());
        // A new process group, as created by a shell: Ctrl-C reaches all of it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Running { child: command.spawn().unwrap(), log, json }
    }

    /// Runs the build, which must succeed.
    pub fn run(&self) -> Finished {
        self.start().end().expect_success()
    }

    /// Runs the build, which must fail; returns its stderr.
    pub fn fail(&self) -> String {
        let ended = self.start().end();
        assert!(!ended.status.success(), "the build succeeded: {}", ended.stderr);
        ended.stderr
    }

    /// All results in the work folder: KIND/KEY with the folder's inode and the time of its newest file.
    pub fn results(&self) -> BTreeMap<String, (u64, i64)> {
        let mut results = BTreeMap::new();
        for below in walk_two(&self.work) {
            let folder_path = self.work.join(&below);
            let youngest = walk(&folder_path).unwrap().into_iter().map(|path| {
                let metadata = folder_path.join(path).symlink_metadata().unwrap();
                metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()
            });
            let youngest = youngest.max().unwrap_or_default();
            results.insert(below, (folder_path.metadata().unwrap().ino(), youngest));
        }
        results
    }
}

/// KIND/KEY of all folders at the second level.
fn walk_two(work: &Path) -> Vec<String> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let places = folders(work).into_iter().flat_map(|kind| folders(&kind));
    places.map(|folder_path| folder_path.strip_prefix(work).unwrap().to_str().unwrap().to_owned()).collect()
}

pub struct Running {
    pub child: Child,
    log: PathBuf,
    json: PathBuf,
}

pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
    json: PathBuf,
}

/// The output of `keelson image build --json`.
#[derive(Debug, Clone)]
pub struct Finished {
    pub stderr: String,
    pub json: serde_json::Value,
}

impl Running {
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits for `condition`; fails if the build exits before.
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the build ended before {what}: {}", self.stderr());
            assert!(started.elapsed() < TIMEOUT, "no {what}: {}", self.stderr());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    pub fn end(mut self) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > TIMEOUT {
                self.child.kill().unwrap();
                panic!("the build does not end: {}", self.stderr());
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        Ended { status, stderr: self.stderr(), json: self.json }
    }
}

impl Ended {
    pub fn expect_success(self) -> Finished {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        let json = serde_json::from_slice(&fs::read(&self.json).unwrap()).unwrap();
        Finished { stderr: self.stderr, json }
    }
}

impl Finished {
    pub fn files(&self) -> &[serde_json::Value] {
        self.json["files"].as_array().unwrap()
    }

    /// The first file of a format.
    pub fn file(&self, format: &str) -> &serde_json::Value {
        self.files().iter().find(|file| file["format"] == format).unwrap()
    }

    pub fn path(&self, format: &str) -> PathBuf {
        self.file(format)["path"].as_str().unwrap().into()
    }

    pub fn sha256(&self, format: &str) -> &str {
        self.file(format)["sha256"].as_str().unwrap()
    }
}

/// The reference build.
pub struct First {
    pub build: Build,
    pub finished: Finished,
}

pub fn first() -> &'static First {
    static SHARED: OnceLock<First> = OnceLock::new();
    SHARED.get_or_init(|| {
        let build = Build { formats: "qcow2,raw", ..Build::new("first") };
        let finished = build.run();
        First { build, finished }
    })
}
