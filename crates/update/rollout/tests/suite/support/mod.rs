//! A server with one application, and requests of machines.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use omaha::{COREOS_APP_ID, ErrorCode, Event, EventResult, EventType};
use rollout::{
    App, AppOutcome, AppRequest, CheckResult, File, Group, LoadedRecord, Machine, Package, Policy, Reason,
    RecordKey, Track, UpdateState,
};

pub const START: u64 = 1_795_000_000;

pub fn zones(name: &str) -> Option<TimeZone> {
    (name == "UTC").then_some(TimeZone::UTC)
}

pub fn track(name: &str) -> Track {
    name.parse().unwrap()
}

pub fn package(version: &str) -> Package {
    let payload = File { name: "payload".into(), size: 10, sha256: "00".repeat(32), sha1: String::new() };
    Package {
        version: version.parse().unwrap(),
        arch: "amd64".into(),
        board: "amd64-usr".into(),
        payload,
        further: Vec::new(),
        files_at: None,
        channels: Vec::new(),
        min_from: None,
        release_sha256: None,
        notes_url: None,
        created: START,
        banned: None,
        blacklist: BTreeSet::new(),
        images: None,
    }
}

/// Channels and groups `alpha` and `beta`, versions 1.0.0 to 4.0.0, empty channels.
pub fn initial_state() -> UpdateState {
    let mut state = UpdateState::default();
    let app = App { id: COREOS_APP_ID.into(), name: "Keelson".into(), product_id: Some("keelson".into()) };
    state.put_app(app).unwrap();
    for name in ["alpha", "beta"] {
        state.ensure_channel("keelson", &track(name), START).unwrap();
    }
    for version in ["1.0.0", "2.0.0", "3.0.0", "4.0.0"] {
        state.add_package("keelson", package(version)).unwrap();
    }
    state
}

/// Storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage(BTreeMap<RecordKey, String>);

impl MemoryStorage {
    pub fn persist(&mut self, state: &mut UpdateState) {
        for record in state.take_changes().into_keys() {
            match state.value(&record) {
                Some(value) => {
                    let json = serde_json::to_string(&value).unwrap();
                    self.0.insert(record, json);
                }
                None => drop(self.0.remove(&record)),
            }
        }
    }

    pub fn load(&self) -> UpdateState {
        let (mut state, mut deferred) = (UpdateState::default(), Vec::new());
        for (record, json) in &self.0 {
            let json = json.as_str();
            let loaded = match record.clone() {
                RecordKey::App(_) => LoadedRecord::App(serde_json::from_str(json).unwrap()),
                RecordKey::Package(app, ..) => {
                    LoadedRecord::Package(app, serde_json::from_str(json).unwrap())
                }
                RecordKey::Channel(app, _) => LoadedRecord::Channel(app, serde_json::from_str(json).unwrap()),
                RecordKey::Group(app, _) => LoadedRecord::Group(app, serde_json::from_str(json).unwrap()),
                RecordKey::Timeline(app, track) => {
                    LoadedRecord::Timeline(app, track, serde_json::from_str(json).unwrap())
                }
                RecordKey::Machine(app, _) => LoadedRecord::Machine(app, serde_json::from_str(json).unwrap()),
                RecordKey::Activity(_) => LoadedRecord::Activity(serde_json::from_str(json).unwrap()),
            };
            state.load(loaded, &mut deferred);
        }
        state.finish_loading(deferred);
        state
    }
}

pub struct World {
    pub state: UpdateState,
    pub now: u64,
    /// Machines that prove the registration token.
    pub registered: BTreeSet<String>,
}

impl World {
    /// Channel `alpha` points to 2.0.0.
    pub fn new(policy: Policy) -> Self {
        let mut world = Self { state: initial_state(), now: START, registered: BTreeSet::new() };
        world.policy(policy);
        world.point_channel("2.0.0");
        world
    }

    pub fn policy(&mut self, policy: Policy) {
        self.state.set_policy("keelson", &track("alpha"), policy, self.now, &zones).unwrap();
    }

    /// Reloads the state from the records persisted so far.
    pub fn restart(&mut self) {
        let mut storage = MemoryStorage::default();
        storage.persist(&mut self.state);
        self.state = storage.load();
    }

    pub fn point_channel(&mut self, version: &str) {
        let version = version.parse().unwrap();
        self.state.point_channel("keelson", &track("alpha"), Some(&version), self.now).unwrap();
    }

    pub fn handle(&mut self, request: &omaha::App) -> AppOutcome {
        self.handle_as(request, false)
    }

    pub fn handle_as(&mut self, request: &omaha::App, is_on_demand: bool) -> AppOutcome {
        let is_registered = self.registered.contains(&request.machine_id);
        let request =
            AppRequest { app: request, os_arch: None, ip: [10, 0, 0, 1].into(), is_on_demand, is_registered };
        self.state.handle(request, self.now, &zones)
    }

    pub fn app_request(machine: &str, version: &str) -> omaha::App {
        omaha::App {
            app_id: COREOS_APP_ID.into(),
            machine_id: machine.into(),
            version: version.into(),
            track: "alpha".into(),
            board: "amd64-usr".into(),
            boot_id: format!("{{boot of {version}}}"),
            ping: true,
            ..omaha::App::default()
        }
    }

    /// An update check as machines send it. Returns the offered version, or the reason for no update.
    pub fn check(&mut self, machine: &str, version: &str) -> Result<String, Reason> {
        self.check_with(machine, version, Event::rebooted(""))
    }

    pub fn check_with(&mut self, machine: &str, version: &str, event: Event) -> Result<String, Reason> {
        self.check_as(machine, version, event, false)
    }

    /// A check requested on the machine.
    pub fn check_on_demand(&mut self, machine: &str, version: &str) -> Result<String, Reason> {
        self.check_as(machine, version, Event::rebooted(""), true)
    }

    fn check_as(
        &mut self,
        machine: &str,
        version: &str,
        event: Event,
        is_on_demand: bool,
    ) -> Result<String, Reason> {
        let request =
            omaha::App { update_check: true, events: vec![event], ..Self::app_request(machine, version) };
        match self.handle_as(&request, is_on_demand) {
            AppOutcome::Known(Some(CheckResult::Update { version, .. })) => Ok(version.to_string()),
            AppOutcome::Known(Some(CheckResult::NoUpdate(reason))) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    pub fn event(&mut self, machine: &str, version: &str, event: Event) {
        let request = omaha::App { events: vec![event], ..Self::app_request(machine, version) };
        assert_eq!(self.handle(&request), AppOutcome::Known(None));
    }

    /// Omaha events 13/1, 14/1 and 3/1.
    pub fn install(&mut self, machine: &str, version: &str) {
        for kind in [EventType::DOWNLOAD_STARTED, EventType::DOWNLOAD_FINISHED, EventType::UPDATE_COMPLETE] {
            self.event(machine, version, Event::new(kind, EventResult::SUCCESS));
        }
    }

    pub fn fail(&mut self, machine: &str, version: &str, code: ErrorCode) {
        self.event(machine, version, Event::failed(code));
    }

    pub fn machine(&self, id: &str) -> &Machine {
        &self.state.app("keelson").unwrap().1.machines[id]
    }

    pub fn group(&self) -> &Group {
        &self.state.app("keelson").unwrap().1.groups[&track("alpha")].group
    }

    pub fn log(&self) -> Vec<&str> {
        self.state.activity().map(|entry| entry.text.as_str()).collect()
    }
}
