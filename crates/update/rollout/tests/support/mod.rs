//! A fleet of one application, and machines that call it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test program uses a part; a test stops at what it did not expect"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use omaha::{COREOS_APP_ID, ErrorCode, Event, EventResult, EventType};
use rollout::{
    Answer, App, Contact, File, Fleet, Group, Loaded, Machine, Package, Policy, Reason, Record, Track,
    Verdict,
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
    }
}

/// Channels and groups `alpha` and `beta`, versions 1.0.0 to 4.0.0, nothing in the channels.
pub fn fleet() -> Fleet {
    let mut fleet = Fleet::default();
    let app = App { id: COREOS_APP_ID.into(), name: "Keelson".into(), product_id: Some("keelson".into()) };
    fleet.put_app(app).unwrap();
    for name in ["alpha", "beta"] {
        fleet.ensure_channel("keelson", &track(name), START).unwrap();
    }
    for version in ["1.0.0", "2.0.0", "3.0.0", "4.0.0"] {
        fleet.add_package("keelson", package(version)).unwrap();
    }
    fleet
}

/// The records to persist.
#[derive(Debug, Default)]
pub struct Kept(BTreeMap<Record, String>);

impl Kept {
    pub fn take(&mut self, fleet: &mut Fleet) {
        for record in fleet.take_changes().into_keys() {
            match fleet.value(&record) {
                Some(value) => {
                    let json = serde_json::to_string(&value).unwrap();
                    self.0.insert(record, json);
                }
                None => drop(self.0.remove(&record)),
            }
        }
    }

    pub fn loaded(&self) -> Fleet {
        let (mut fleet, mut unplaced) = (Fleet::default(), Vec::new());
        for (record, json) in &self.0 {
            let json = json.as_str();
            let loaded = match record.clone() {
                Record::App(_) => Loaded::App(serde_json::from_str(json).unwrap()),
                Record::Package(app, ..) => Loaded::Package(app, serde_json::from_str(json).unwrap()),
                Record::Channel(app, _) => Loaded::Channel(app, serde_json::from_str(json).unwrap()),
                Record::Group(app, _) => Loaded::Group(app, serde_json::from_str(json).unwrap()),
                Record::Timeline(app, track) => {
                    Loaded::Timeline(app, track, serde_json::from_str(json).unwrap())
                }
                Record::Machine(app, _) => Loaded::Machine(app, serde_json::from_str(json).unwrap()),
                Record::Activity(_) => Loaded::Activity(serde_json::from_str(json).unwrap()),
            };
            fleet.load(loaded, &mut unplaced);
        }
        fleet.finish_loading(unplaced);
        fleet
    }
}

pub struct World {
    pub fleet: Fleet,
    pub now: u64,
}

impl World {
    /// `alpha` has 2.0.0.
    pub fn new(policy: Policy) -> Self {
        let mut world = Self { fleet: fleet(), now: START };
        world.policy(policy);
        world.point("2.0.0");
        world
    }

    pub fn policy(&mut self, policy: Policy) {
        self.fleet.set_policy("keelson", &track("alpha"), policy, self.now, &zones).unwrap();
    }

    /// With the records that were persisted since the beginning.
    pub fn restart(&mut self) {
        let mut kept = Kept::default();
        kept.take(&mut self.fleet);
        self.fleet = kept.loaded();
    }

    pub fn point(&mut self, version: &str) {
        let version = version.parse().unwrap();
        self.fleet.point("keelson", &track("alpha"), Some(&version), self.now).unwrap();
    }

    pub fn call(&mut self, said: &omaha::App) -> Answer {
        self.call_as(said, false)
    }

    pub fn call_as(&mut self, said: &omaha::App, is_on_demand: bool) -> Answer {
        let contact = Contact { app: said, os_arch: None, ip: "10.0.0.1", is_on_demand };
        self.fleet.contact(contact, self.now, &zones)
    }

    pub fn said(machine: &str, version: &str) -> omaha::App {
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

    /// A check as a machine sends it: the version that it is offered, or why there is none.
    pub fn check(&mut self, machine: &str, version: &str) -> Result<String, Reason> {
        self.check_with(machine, version, Event::rebooted(""))
    }

    pub fn check_with(&mut self, machine: &str, version: &str, event: Event) -> Result<String, Reason> {
        self.check_as(machine, version, event, false)
    }

    /// A check that the machine's operator requests.
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
        let said = omaha::App { update_check: true, events: vec![event], ..Self::said(machine, version) };
        match self.call_as(&said, is_on_demand) {
            Answer::Known(Some(Verdict::Update { version, .. })) => Ok(version.to_string()),
            Answer::Known(Some(Verdict::Nothing(reason))) => Err(reason),
            other => panic!("{other:?}"),
        }
    }

    pub fn event(&mut self, machine: &str, version: &str, event: Event) {
        let said = omaha::App { events: vec![event], ..Self::said(machine, version) };
        assert_eq!(self.call(&said), Answer::Known(None));
    }

    /// 13/1, 14/1 and 3/1.
    pub fn install(&mut self, machine: &str, version: &str) {
        for kind in [EventType::DOWNLOAD_STARTED, EventType::DOWNLOAD_FINISHED, EventType::UPDATE_COMPLETE] {
            self.event(machine, version, Event::new(kind, EventResult::SUCCESS));
        }
    }

    pub fn fail(&mut self, machine: &str, version: &str, code: ErrorCode) {
        self.event(machine, version, Event::failed(code));
    }

    pub fn machine(&self, id: &str) -> &Machine {
        &self.fleet.app("keelson").unwrap().1.machines[id]
    }

    pub fn group(&self) -> &Group {
        &self.fleet.app("keelson").unwrap().1.groups[&track("alpha")].group
    }

    pub fn told(&self) -> Vec<&str> {
        self.fleet.activity().map(|entry| entry.text.as_str()).collect()
    }
}
