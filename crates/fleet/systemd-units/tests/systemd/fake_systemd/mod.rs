//! A bus with a systemd on it. Only the words of the protocol are real; what units do is what the test says.

mod bus;
mod manager;
mod messages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use systemd_units::Units;
use tempfile::TempDir;
use tokio::sync::Notify;
use unit_file::{UnitFile, UnitName};
use zbus::{Connection, Message};

pub use messages::{changed, job_removed};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a stop of one unit comes to.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Its end is told before the answer to the call.
    BeforeAnswer,
    /// It goes on until the test ends it.
    Held,
    /// It is over at once, with this result, and the unit in this active state.
    With(&'static str, &'static str),
    /// It is over at once, and no signal says so.
    Unsaid,
}

/// A unit in systemd's memory.
#[derive(Debug, Clone)]
pub struct Unit {
    pub load: String,
    pub active: String,
    pub sub: String,
    pub fragment: String,
    /// A stop that goes on.
    pub job: Option<u32>,
}

#[derive(Default)]
pub struct State {
    /// What was called, in order: `StopUnit a.service`.
    pub calls: Vec<String>,
    pub units: BTreeMap<String, Unit>,
    /// Where it looks for units of the folder.
    pub link_folder: PathBuf,
    pub enabled: BTreeSet<String>,
    /// Units of the machine itself, by their load states and files.
    pub elsewhere: BTreeMap<String, (&'static str, &'static str)>,
    pub stops: BTreeMap<String, Stop>,
    /// In microseconds.
    pub stop_limits: BTreeMap<String, u64>,
    /// Names and texts of errors, by call.
    pub error_replies: BTreeMap<String, (&'static str, &'static str)>,
    /// Units whose links cannot be removed.
    pub disable_failures: BTreeSet<String>,
    /// Enables nothing, and says so.
    pub nothing_to_enable: bool,
    /// A method whose answers wait until there are so many.
    pub hold_method: Option<(&'static str, usize)>,
    pub held: Vec<Vec<Action>>,
    /// The bus goes away when this is called, before it is done.
    pub cut_at: Option<String>,
    /// So many connections are refused.
    pub refuse_dials: usize,
    pub dials: usize,
    /// A reload makes systemd forget who listens.
    pub reload_drops_subscribers: bool,
    pub subscribed: bool,
    pub reexecuted: usize,
    pub last_job: u32,
    pub rules: BTreeSet<String>,
    pub peers: Vec<Connection>,
    /// Connections that were given up by those who had them, or cut.
    pub ended: usize,
}

/// What goes over the bus.
pub enum Action {
    Reply(Message),
    Signal(Message),
    /// systemd forgets who listens.
    Forget,
    Cut,
}

#[derive(Clone, Default)]
pub struct FakeSystemd {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl State {
    /// Where the links in its folder lead.
    pub fn links(&self) -> BTreeMap<String, PathBuf> {
        let entries = fs::read_dir(&self.link_folder).into_iter().flatten().map(Result::unwrap);
        let link = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read_link(entry.path()).unwrap())
        };
        entries.map(link).collect()
    }
}

impl FakeSystemd {
    pub fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock())
    }

    /// Of one method, or with the unit.
    pub fn calls(&self, of: &str) -> usize {
        let is_it = |call: &&String| **call == of || call.split(' ').next() == Some(of);
        self.state(|state| state.calls.iter().filter(is_it).count())
    }

    /// Until the state is so.
    pub async fn until<T: Debug>(&self, mut look: impl FnMut(&State) -> Result<(), T>) {
        let mut last = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let changed = self.changed.notified();
                match self.state(|state| look(state)) {
                    Ok(()) => return,
                    Err(seen) => last = Some(seen),
                }
                changed.await;
            }
        });
        if waited.await.is_err() {
            panic!("waited in vain, last seen: {last:?}");
        }
    }

    pub async fn until_called(&self, call: &str, times: usize) {
        let count = |state: &State| state.calls.iter().filter(|seen| seen.starts_with(call)).count();
        self.until(|state| if count(state) >= times { Ok(()) } else { Err(state.calls.clone()) }).await;
    }
}

/// A folder, its units, and the systemd below them.
pub struct Fixture {
    pub systemd: FakeSystemd,
    pub units: Units,
    pub directory: PathBuf,
    _temp_dir: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let temp_dir = tempfile::tempdir().unwrap();
        let directory = temp_dir.path().canonicalize().unwrap().join("units");
        let systemd = FakeSystemd::default();
        let links = temp_dir.path().join("links");
        fs::create_dir(&links).unwrap();
        systemd.state(|state| state.link_folder.clone_from(&links));
        let units = Units::with_dial(&directory, links, Box::new(systemd.clone())).unwrap();
        Self { systemd, units, directory, _temp_dir: temp_dir }
    }

    pub fn file(&self, unit: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(unit)).ok()
    }

    /// A unit that is loaded, as systemd sees it after a reload, and runs if it is `active`.
    pub fn put(&self, unit: &str, active: &str) {
        let path = self.directory.join(unit);
        fs::write(&path, "[Service]\nExecStart=/bin/sleep 1\n[Install]\nWantedBy=x.target\n").unwrap();
        self.systemd.state(|state| {
            let link = state.link_folder.join(unit);
            if !link.is_symlink() {
                symlink(&path, link).unwrap();
            }
            state.units.insert(unit.to_owned(), Unit::of("loaded", active, &path));
        });
    }
}

impl Unit {
    pub fn of(load: &str, active: &str, fragment: &Path) -> Self {
        let sub = match active {
            "active" => "running",
            "inactive" => "dead",
            other => other,
        };
        let [load, active, sub] = [load, active, sub].map(str::to_owned);
        Self { load, active, sub, fragment: fragment.to_string_lossy().into_owned(), job: None }
    }
}

pub fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

pub fn file(text: &str) -> UnitFile {
    UnitFile::from_text(text).unwrap()
}

/// An error with its causes, as it is logged.
pub fn error_chain(error: &systemd_units::Error) -> String {
    service::error::chain(error)
}
