//! A bus with a fake systemd. The protocol is real; tests define what units do.

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

/// Timeout for expected conditions.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the stop of a unit proceeds.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// JobRemoved precedes the reply to the call.
    BeforeAnswer,
    /// Continues until the test ends it.
    Held,
    /// Ends immediately with this result and active state.
    With(&'static str, &'static str),
    /// Ends immediately, without a signal.
    Unsaid,
}

/// A loaded unit.
#[derive(Debug, Clone)]
pub struct Unit {
    pub load: String,
    pub active: String,
    pub sub: String,
    pub fragment: String,
    /// A running stop job.
    pub job: Option<u32>,
}

#[derive(Default)]
pub struct State {
    /// Calls in order: `StopUnit a.service`.
    pub calls: Vec<String>,
    pub units: BTreeMap<String, Unit>,
    /// The runtime unit directory.
    pub link_folder: PathBuf,
    pub enabled: BTreeSet<String>,
    /// Units of the machine: load state and file.
    pub elsewhere: BTreeMap<String, (&'static str, &'static str)>,
    pub stops: BTreeMap<String, Stop>,
    /// Microseconds.
    pub stop_limits: BTreeMap<String, u64>,
    /// Error name and message by call.
    pub error_replies: BTreeMap<String, (&'static str, &'static str)>,
    /// Units whose links cannot be removed.
    pub disable_failures: BTreeSet<String>,
    /// EnableUnitFiles reports that there is nothing to enable.
    pub nothing_to_enable: bool,
    /// A method whose replies are held until this many are pending.
    pub hold_method: Option<(&'static str, usize)>,
    pub held: Vec<Vec<Action>>,
    /// The bus disconnects instead of executing this call.
    pub cut_at: Option<String>,
    /// Number of connections to refuse.
    pub refuse_dials: usize,
    pub dials: usize,
    /// A daemon-reload drops subscriptions.
    pub reload_drops_subscribers: bool,
    pub subscribed: bool,
    pub reexecuted: usize,
    pub last_job: u32,
    pub rules: BTreeSet<String>,
    pub peers: Vec<Connection>,
    /// Number of closed connections.
    pub ended: usize,
}

/// What the fake does.
pub enum Action {
    Reply(Message),
    Signal(Message),
    /// Drops the subscription.
    Forget,
    Cut,
}

#[derive(Clone, Default)]
pub struct FakeSystemd {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl State {
    /// Links in the runtime unit directory with their targets.
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

    /// Number of calls of a method, or of a method with its unit.
    pub fn calls(&self, of: &str) -> usize {
        let is_it = |call: &&String| **call == of || call.split(' ').next() == Some(of);
        self.state(|state| state.calls.iter().filter(is_it).count())
    }

    /// Waits for a condition.
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

/// A unit directory with its fake systemd.
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

    /// Adds a loaded unit in this active state.
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

/// The error with its causes.
pub fn error_chain(error: &systemd_units::Error) -> String {
    service::error::chain(error)
}
