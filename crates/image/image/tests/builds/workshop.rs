//! Where builds are tried: copies of the checkout, of the package cache and of work folders.

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
use image::tree::{clone_by_links, make_folder, walk};
use progress::Progress;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);
const GLANCE: Duration = Duration::from_millis(2);
/// Parts of the checkout that an image is made of, besides the programs.
const SOURCES: [&str; 4] = ["os", "image", "units", "cloud-config"];

/// This checkout.
pub fn checkout() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")).unwrap()
}

/// The folder that `cargo verify image` gives: on a real disk, empty, removed by it in the end.
pub fn folder() -> PathBuf {
    let given = std::env::var_os("KEELSON_BUILDS");
    PathBuf::from(given.expect("KEELSON_BUILDS names an empty folder; run these by `cargo verify image`"))
}

/// Reports why a test cannot run on this host: on stderr, and in the list that `cargo verify` shows.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write as _;
    eprintln!("SKIPPED: {test}: {reason}");
    let mut list = File::options().create(true).append(true).open(folder().join("skipped")).unwrap();
    writeln!(list, "{test}: {reason}").unwrap();
}

/// What all builds share.
pub struct Workshop {
    /// As `CARGO_TARGET_DIR` has them.
    pub programs: PathBuf,
    /// As `XDG_CACHE_HOME` has it; every package is there.
    pub cache: PathBuf,
    pub keelson: PathBuf,
}

pub fn workshop() -> &'static Workshop {
    static SHARED: OnceLock<Workshop> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (checkout, folder) = (checkout(), folder());
        // What a host cannot be blamed for: a package that every mirror has dropped meanwhile.
        let options =
            Options { renew_gone: true, work: folder.join("filling"), ..Options::for_checkout(&checkout) };
        let lock = fill_cache(&options, Progress::Visible).unwrap().lock;
        copy(&checkout.join("os"), &folder.join("locked/os"));
        lock.write(&folder.join("locked/os/packages.lock")).unwrap();
        let list = programs::read(&checkout.join("os/programs.toml")).unwrap();
        let built =
            programs::build(&list, &checkout, Profile::Node, &AtomicBool::new(false), &|_| ()).unwrap();
        let shop = Workshop {
            programs: folder.join("programs"),
            cache: folder.join("cache"),
            keelson: folder.join("keelson"),
        };
        make_folder(&shop.programs.join("node")).unwrap();
        crates::record(&list, &checkout, &built).unwrap();
        for name in list.iter().map(|program| program.binary.as_str()).chain([crates::FILE]) {
            fs::copy(built.join(name), shop.programs.join("node").join(name)).unwrap();
        }
        fs::copy(std::env::var_os("KEELSON").expect("KEELSON names the program"), &shop.keelson).unwrap();
        make_folder(&shop.cache.join("keelson/debs/partial")).unwrap();
        for package in &lock.packages {
            let name = format!("{}.deb", package.sha256);
            link_or_copy(&options.cache.join(&name), &shop.cache.join("keelson/debs").join(&name));
        }
        shop
    })
}

/// The cache may lie on another disk. What is linked is never changed, only replaced.
pub fn link_or_copy(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).unwrap();
    }
}

/// A new package cache with all packages, in the form of `XDG_CACHE_HOME`.
pub fn another_cache(name: &str) -> PathBuf {
    let cache = folder().join(name);
    make_folder(&cache.join("keelson/debs/partial")).unwrap();
    for entry in fs::read_dir(workshop().cache.join("keelson/debs")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            link_or_copy(&entry.path(), &cache.join("keelson/debs").join(entry.file_name()));
        }
    }
    cache
}

/// A new checkout as far as images go, with the lock that the shared cache is full for.
pub fn another_checkout(place: &Path) -> PathBuf {
    workshop();
    for name in SOURCES {
        copy(&checkout().join(name), &place.join(name));
    }
    // The same manifests: the list of crates holds for them.
    for manifest in crates::manifests(&checkout()).unwrap() {
        let copied = place.join(manifest.strip_prefix(checkout()).unwrap());
        make_folder(copied.parent().unwrap()).unwrap();
        fs::copy(&manifest, copied).unwrap();
    }
    fs::copy(folder().join("locked/os/packages.lock"), place.join("os/packages.lock")).unwrap();
    place.to_path_buf()
}

/// `cp -r --preserve=mode,links`, but with new times.
pub fn copy(from: &Path, to: &Path) {
    make_folder(to.parent().unwrap()).unwrap();
    let status =
        Command::new("cp").args(["-r", "--no-dereference", "--preserve=mode"]).arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp {} {}", from.display(), to.display());
}

/// One `keelson image build`.
#[derive(Clone)]
pub struct Build {
    pub checkout: PathBuf,
    pub work: PathBuf,
    pub out: PathBuf,
    pub cache: PathBuf,
    pub formats: &'static str,
    /// Further words of the command.
    pub words: Vec<String>,
    /// A program and its words that stand before `keelson`.
    pub before: Vec<String>,
    pub environment: Vec<(&'static str, OsString)>,
    /// Held, not looked at.
    pub _place: Arc<Place>,
}

/// Some gigabytes, which are given back when nobody needs them any more: all tests' together fill a disk. Those of a
/// test that fails stay until the end.
pub struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What cannot be removed now is removed in the end.
            drop(fs::remove_dir_all(&self.0));
        }
    }
}

impl Build {
    /// Everything below `folder()/name`, raw only.
    pub fn new(name: &str) -> Self {
        let place = folder().join(name);
        Self {
            checkout: another_checkout(&place.join("checkout")),
            work: place.join("checkout/target/image"),
            out: place.join("out"),
            cache: workshop().cache.clone(),
            formats: "raw",
            words: Vec::new(),
            before: Vec::new(),
            environment: Vec::new(),
            _place: Arc::new(Place(place)),
        }
    }

    /// As [`new`](Self::new), with the results of the first build, but for `removed` kinds of them.
    pub fn resumed(name: &str, removed: &[&str]) -> Self {
        let build = Self::new(name);
        let from = &first().build.work;
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_name();
            // Not the lock: a link to it would be the same lock.
            if entry.file_type().unwrap().is_dir() && !removed.iter().any(|removed| kind == *removed) {
                clone_by_links(&entry.path(), &build.work.join(&kind)).unwrap();
            }
        }
        make_folder(&build.work).unwrap();
        build
    }

    /// In a shell that has `script` before and runs the build as `"$@"`.
    pub fn in_shell(mut self, before: &[&str], script: &str) -> Self {
        let words = ["sh", "-c", script, "sh"];
        self.before = before.iter().chain(&words).map(|word| (*word).to_owned()).collect();
        self
    }

    /// `keelson` with `words`, in the checkout, with nothing of this process's environment but PATH.
    pub fn keelson(&self, words: &[&str]) -> Command {
        let shop = workshop();
        let mut command = match self.before.split_first() {
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(&shop.keelson);
                command
            }
            None => Command::new(&shop.keelson),
        };
        command.args(words).current_dir(&self.checkout).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", folder().join("home"));
        // No machines are wanted: nothing may be written there.
        command.env("XDG_STATE_HOME", "/nonexistent");
        // The programs are built already: cargo has nothing to do.
        command.env("CARGO", "true").env("CARGO_TARGET_DIR", &shop.programs);
        command.env("XDG_CACHE_HOME", &self.cache).envs(self.environment.clone());
        command
    }

    /// Relative where it can be, as a user types it: some steps run in a sandbox, in another folder.
    fn out_as_typed(&self) -> PathBuf {
        match (self.out.parent() == self.checkout.parent(), self.out.file_name()) {
            (true, Some(name)) => Path::new("..").join(name),
            _ => self.out.clone(),
        }
    }

    pub fn start(&self) -> Running {
        make_folder(&self.out).unwrap();
        let log = self.out.with_extension("stderr");
        let answer = self.out.with_extension("json");
        let mut command = self.keelson(&["--json", "image", "build", "--format", self.formats]);
        command.args(&self.words);
        command.arg("--work").arg(&self.work).arg("--out").arg(self.out_as_typed());
        command.stdout(File::create(&answer).unwrap()).stderr(File::create(&log).unwrap());
        // A group of its own, as a shell makes it: Ctrl-C goes to all of it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Running { child: command.spawn().unwrap(), log, answer }
    }

    /// The build must succeed.
    pub fn run(&self) -> Finished {
        self.start().end().expect_success()
    }

    /// The build must fail; what it said.
    pub fn fail(&self) -> String {
        let ended = self.start().end();
        assert!(!ended.status.success(), "the build succeeded: {}", ended.said);
        ended.said
    }

    /// Every result in the work folder: KIND/KEY to the folder's number on its disk and its youngest file's time.
    pub fn results(&self) -> BTreeMap<String, (u64, i64)> {
        let mut results = BTreeMap::new();
        for below in walk_two(&self.work) {
            let place = self.work.join(&below);
            let youngest = walk(&place).unwrap().into_iter().map(|path| {
                let metadata = place.join(path).symlink_metadata().unwrap();
                metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()
            });
            let youngest = youngest.max().unwrap_or_default();
            results.insert(below, (place.metadata().unwrap().ino(), youngest));
        }
        results
    }
}

/// KIND/KEY of every folder two levels down.
fn walk_two(work: &Path) -> Vec<String> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_dir()).collect()
    };
    let places = folders(work).into_iter().flat_map(|kind| folders(&kind));
    places.map(|place| place.strip_prefix(work).unwrap().to_str().unwrap().to_owned()).collect()
}

pub struct Running {
    pub child: Child,
    log: PathBuf,
    answer: PathBuf,
}

pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
    answer: PathBuf,
}

/// What `keelson image build --json` printed.
#[derive(Debug, Clone)]
pub struct Finished {
    pub said: String,
    pub answer: serde_json::Value,
}

impl Running {
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until `seen`; fails if the build ends before.
    pub fn wait_until(&mut self, what: &str, mut seen: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !seen(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the build ended before {what}: {}", self.said());
            assert!(begun.elapsed() < DEADLINE, "no {what}: {}", self.said());
            std::thread::sleep(GLANCE);
        }
    }

    pub fn end(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > DEADLINE {
                self.child.kill().unwrap();
                panic!("the build does not end: {}", self.said());
            }
            std::thread::sleep(GLANCE);
        };
        Ended { status, said: self.said(), answer: self.answer }
    }
}

impl Ended {
    pub fn expect_success(self) -> Finished {
        assert!(self.status.success(), "{}: {}", self.status, self.said);
        let answer = serde_json::from_slice(&fs::read(&self.answer).unwrap()).unwrap();
        Finished { said: self.said, answer }
    }
}

impl Finished {
    pub fn file(&self, format: &str) -> &serde_json::Value {
        let files = self.answer["files"].as_array().unwrap();
        files.iter().find(|file| file["format"] == format).unwrap()
    }

    pub fn path(&self, format: &str) -> PathBuf {
        self.file(format)["path"].as_str().unwrap().into()
    }

    pub fn sha256(&self, format: &str) -> &str {
        self.file(format)["sha256"].as_str().unwrap()
    }
}

/// The build that the others are compared with.
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
