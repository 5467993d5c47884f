//! Machines, the store, the operators, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster::registry::View;
use cluster::schedule::Standing;
use cluster::{Cordon, JobState, MachineId};
use fleet_node::{Alone, Chance, Metrics, Node, Requests, Settings, World as Parts, keep_fence};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::lan::Lan;
use crate::ledger::Ledger;
use crate::place::Place;
use crate::store::{Link, Service};
use crate::wall_clock;

pub const TTL: Duration = Duration::from_secs(30);

pub struct World {
    pub service: Service,
    pub ledger: Ledger,
    pub places: Vec<Place>,
    lan: Lan,
    chance: fastrand::Rng,
    told: bool,
    begun: Instant,
    starts: Arc<AtomicU64>,
    /// What operators have asked for, and what each unit's text is.
    asked: BTreeMap<String, (String, JobState)>,
    faults: Vec<String>,
    /// Of machines that are started from now on.
    pub ttl: Duration,
    /// The same: they never lead.
    pub disable_engine: bool,
}

/// Texts of units, by what they ask for.
const TEXTS: [&str; 6] =
    ["", "", "Conflicts=web*.service\n", "AllowOverlap=yes\n", "Global=true\n", "StopOnPartition=no\n"];

impl World {
    pub async fn new(seed: u64, told: bool) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let machines = chance.usize(2..6);
        let mut world = Self::of(machines, chance, told);
        for number in 0..machines {
            world.start(number);
        }
        for number in 0..8 {
            let text = TEXTS[world.chance.usize(0..TEXTS.len())];
            // Nothing conflicts with global ones: they are on every machine.
            let kind = if number % 2 == 0 && !text.contains("Global") { "web" } else { "job" };
            let name = format!("{kind}{number}.service");
            world.asked.insert(name, (unit_text(text, 0), JobState::Launched));
        }
        sleep(Duration::from_secs(5)).await;
        let names: Vec<String> = world.asked.keys().cloned().collect();
        for name in names {
            world.submit(&name).await;
        }
        sleep(Duration::from_secs(5)).await;
        world
    }

    /// Machines on which nothing was started yet.
    pub fn of(machines: usize, mut chance: fastrand::Rng, told: bool) -> Self {
        let service = Service::new(chance.fork());
        tokio::spawn(service.clone().keep_time());
        let ledger = if told { Ledger::told(Instant::now()) } else { Ledger::default() };
        let places = (0..machines)
            .map(|number| Place::new(number, ledger.clone(), Link::to(&service), chance.fork()))
            .collect();
        Self {
            service,
            ledger,
            places,
            lan: Lan::default(),
            chance,
            told,
            begun: Instant::now(),
            starts: Arc::default(),
            asked: BTreeMap::new(),
            faults: Vec::new(),
            ttl: TTL,
            disable_engine: false,
        }
    }

    /// Each of the units runs on one of the machines.
    pub async fn at_rest(machines: usize, units: usize) -> Self {
        let mut world = Self::of(machines, fastrand::Rng::with_seed(5), false);
        (0..machines).for_each(|number| world.start(number));
        sleep(Duration::from_secs(5)).await;
        for number in 0..units {
            let name = format!("unit{number}.service");
            world.asked.insert(name.clone(), (unit_text("", 0), JobState::Launched));
            world.submit(&name).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!((world.ledger.running().len(), world.ledger.starts()), (units, units));
        world
    }

    fn tell(&self, text: &str) {
        if self.told {
            eprintln!("{:9.3} {text}", self.begun.elapsed().as_secs_f64());
        }
    }

    fn settings(&self, number: usize, instance: String) -> Settings {
        let place = &self.places[number];
        let mut rng = fastrand::Rng::with_seed(self.starts.load(Ordering::Relaxed));
        let shares = (0..64).map(|_| rng.f64()).collect::<Vec<_>>();
        let next = AtomicU64::new(0);
        Settings {
            me: MachineId::new(&place.id),
            public_ip: {
                let id = place.id.clone();
                Arc::new(move || id.clone())
            },
            metadata: BTreeMap::from([("number".to_owned(), number.to_string())]),
            capacity: cluster::Capacity::default(),
            version: "1.0.0".into(),
            ttl: self.ttl,
            engine_interval: Duration::from_secs(2),
            disable_engine: self.disable_engine,
            disable_watches: false,
            instance,
            earlier_instances: place.starts.clone(),
            remembered: place.machine.memory.lock().unwrap().clone(),
            launched: place.machine.launched.lock().unwrap().clone(),
            clock: wall_clock::of_machine(self.begun),
            chance: Chance(Arc::new(move || shares[next.fetch_add(1, Ordering::Relaxed) as usize % 64])),
        }
    }

    pub fn start(&mut self, number: usize) {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let instance = format!("start-{start}");
        let settings = self.settings(number, instance.clone());
        let place = &mut self.places[number];
        place.starts.push(instance);
        let memory = place.machine.memory.clone();
        let parts = Parts {
            store: place.link.clone(),
            patient_store: place.link.patient(settings.pause()),
            hands: place.machine.clone(),
            peers: self.lan.of(&place.id),
            remember: Arc::new(move |now: &fleet_node::Memory| *memory.lock().unwrap() = Some(now.clone())),
            remember_units: place.machine.remember_units(),
            alive: Arc::new(|| ()),
        };
        let node = Node::start(settings, Arc::new(Metrics::new().unwrap()), parts);
        self.lan.plug(&place.id, node.answer_to_peers());
        place.node = Some(node);
    }

    /// As SIGKILL: its parts end where they are, units run on, and systemd starts the fence.
    pub fn kill(&mut self, number: usize) {
        self.lan.unplug(&self.places[number].id);
        self.places[number].node = None;
        let settings = self.settings(number, String::new());
        let place = &mut self.places[number];
        let hands = place.machine.clone();
        let alone =
            Alone { hands, peers: self.lan.of(&place.id), remember_units: place.machine.remember_units() };
        place.fence.spawn(keep_fence(settings, alone));
    }

    /// The next fleetd: the fence has ended when it starts.
    pub async fn start_again(&mut self, number: usize) {
        self.places[number].fence.shutdown().await;
        self.start(number);
    }

    /// The power is cut.
    pub async fn crash(&mut self, number: usize) {
        self.kill(number);
        self.places[number].fence.shutdown().await;
        self.places[number].machine.crash();
    }

    /// Any node that has the store does for the operators.
    async fn requests(&self) -> Requests<Link> {
        loop {
            let serving = self.places.iter().filter_map(|place| place.node.as_ref());
            if let Some(node) = serving.rev().find(|node| node.contact().standing().is_serving()) {
                return node.requests();
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    pub async fn submit(&mut self, name: &str) {
        let (text, desired) = self.asked[name].clone();
        self.tell(&format!("submit {name} {desired}: {text:?}"));
        let file = UnitFile::from_text(&text).unwrap();
        let name = UnitName::parse(name).unwrap();
        // Operators try again until they are told that it was done.
        while self.requests().await.create(&name, &file, desired).await.is_err() {}
    }

    pub async fn trouble(&mut self) {
        let number = self.chance.usize(0..self.places.len());
        match self.chance.u32(0..13) {
            0 => self.cut_off(number, true).await,
            1 => self.cut_off(number, false).await,
            2 => self.store_away().await,
            3 => {
                self.tell(&format!("kill fleetd of {number}"));
                self.kill(number);
                // systemd starts it again, sooner or later.
                sleep(Duration::from_millis(self.chance.u64(50..90_000))).await;
                self.start_again(number).await;
            }
            4 => {
                self.tell(&format!("crash {number}"));
                self.crash(number).await;
                sleep(Duration::from_millis(self.chance.u64(500..90_000))).await;
                self.start(number);
            }
            5 => self.leave(number).await,
            6 | 7 => self.change().await,
            8 => self.ask_otherwise().await,
            9 => self.drain_in_a_hurry(number).await,
            10 => {
                let slowest = self.chance.u64(100..3_000);
                self.tell(&format!("the way of {number} to the store takes up to {slowest} ms"));
                self.places[number].link.set_slow(Some(0..slowest));
            }
            11 => {
                self.tell(&format!("{number} hears of no change any more"));
                self.places[number].link.deafen();
            }
            _ => {
                let lossy = self.chance.u32(0..20);
                self.tell(&format!("{lossy} of a hundred answers are lost"));
                self.service.set_lossy(lossy);
            }
        }
        let wait = Duration::from_millis(self.chance.u64(0..60_000));
        sleep(wait).await;
        self.service.set_lossy(0);
        self.places[number].link.set_slow(None);
    }

    async fn cut_off(&mut self, number: usize, also_lan: bool) {
        let id = self.places[number].id.clone();
        self.tell(&format!("cut {number} off, LAN too: {also_lan}"));
        *self.places[number].link.cut.lock().unwrap() = true;
        self.lan.set_cut(&id, also_lan);
        sleep(Duration::from_millis(self.chance.u64(500..120_000))).await;
        self.tell(&format!("{number} is back"));
        self.set_cut(number, false);
    }

    /// From the store, and from the other machines.
    pub fn set_cut(&self, number: usize, cut: bool) {
        *self.places[number].link.cut.lock().unwrap() = cut;
        self.lan.set_cut(&self.places[number].id, cut);
    }

    async fn store_away(&mut self) {
        self.tell("the store goes away");
        self.service.set_down(true);
        sleep(Duration::from_millis(self.chance.u64(500..180_000))).await;
        self.tell("the store is back");
        self.service.set_down(false);
    }

    /// A graceful stop, and a start later.
    async fn leave(&mut self, number: usize) {
        self.tell(&format!("{number} leaves"));
        if let Some(node) = self.places[number].node.take() {
            self.lan.unplug(&self.places[number].id);
            node.stop(true).await;
        }
        sleep(Duration::from_millis(self.chance.u64(500..60_000))).await;
        self.tell(&format!("{number} comes back"));
        self.start(number);
    }

    async fn change(&mut self) {
        let names: Vec<String> = self.asked.keys().cloned().collect();
        let name = names[self.chance.usize(0..names.len())].clone();
        let text = unit_text(TEXTS[self.chance.usize(0..4)], self.chance.u32(1..1000));
        // A global one would be one no more, and one that may run twice might do so when it may no more.
        if ["Global", "StopOnPartition"].iter().any(|wish| self.asked[&name].0.contains(wish)) {
            return;
        }
        self.asked.insert(name.clone(), (text, JobState::Launched));
        self.submit(&name).await;
    }

    async fn ask_otherwise(&mut self) {
        let names: Vec<String> = self.asked.keys().cloned().collect();
        let name = names[self.chance.usize(0..names.len())].clone();
        let states = [JobState::Inactive, JobState::Loaded, JobState::Launched];
        let desired = states[self.chance.usize(0..3)];
        self.tell(&format!("{name} is to be {desired}"));
        self.asked.get_mut(&name).unwrap().1 = desired;
        let unit = UnitName::parse(&name).unwrap();
        while self.requests().await.set_desired(&unit, desired).await.is_err() {}
    }

    /// Units are taken off a machine at the moment when they come to it.
    async fn drain_in_a_hurry(&mut self, number: usize) {
        self.tell(&format!("{number} is drained, opened, and drained again"));
        let id = MachineId::new(&self.places[number].id);
        for _ in 0..self.chance.u32(1..6) {
            for cordon in [Cordon::Draining, Cordon::Open] {
                while self.requests().await.set_cordon(&id, cordon).await.is_err() {}
                sleep(Duration::from_micros(self.chance.u64(0..40_000))).await;
                let names: Vec<String> = self.asked.keys().cloned().collect();
                let name = UnitName::parse(&names[self.chance.usize(0..names.len())]).unwrap();
                let desired = self.asked[name.as_str()].1;
                if desired == JobState::Launched {
                    for state in [JobState::Inactive, JobState::Launched] {
                        while self.requests().await.set_desired(&name, state).await.is_err() {}
                        sleep(Duration::from_micros(self.chance.u64(0..8_000))).await;
                    }
                }
            }
        }
    }

    /// All is whole again. Then everything that is asked for runs, once, and nothing else.
    pub async fn end_well(&mut self) {
        self.tell("all is whole again");
        sleep(TTL * 5).await;
        let view = self.view();
        let running = self.ledger.running();
        for (name, (_, desired)) in self.asked.clone() {
            let name = UnitName::parse(&name).unwrap();
            let on = running.get(&name).cloned().unwrap_or_default();
            let Some(unit) = view.unit(&name) else {
                self.faults.push(format!("{name} is lost"));
                continue;
            };
            let expected = match (desired, unit.wanted.global) {
                (JobState::Launched, true) => self.places.len(),
                (JobState::Launched, false) if Self::has_place(&view, &name) => 1,
                _ => 0,
            };
            if on.len() != expected {
                self.faults.push(format!(
                    "in the end {name} ({desired}, target {:?}) runs on {on:?}, not on {expected}",
                    unit.target
                ));
            }
            self.compare_states(&view, &name, &on);
        }
    }

    /// Where units conflict, some may have to wait: so says a scheduler that looks at it all anew.
    fn has_place(view: &View, name: &UnitName) -> bool {
        let explained = fleet_answers::scheduler(view).explain(name.as_str());
        explained.is_none_or(|explained| explained.standing != Standing::Nowhere)
    }

    /// What is published is what is.
    fn compare_states(&mut self, view: &View, name: &UnitName, on: &BTreeSet<usize>) {
        let told: BTreeSet<usize> = (0..self.places.len())
            .filter(|number| {
                let id = MachineId::new(&self.places[*number].id);
                view.state(name, &id).is_some_and(|state| state.active == "active")
            })
            .collect();
        if told != *on {
            self.faults.push(format!("{name} is told to be active on {told:?}, and is on {on:?}"));
        }
    }

    pub fn view(&self) -> View {
        let pairs = self.service.shown();
        View::read(pairs.iter().map(|(path, value)| (path.as_str(), value.as_str()))).0
    }

    pub fn faults(&self) -> Vec<String> {
        [self.faults.clone(), self.ledger.faults()].concat()
    }
}

fn unit_text(wishes: &str, variant: u32) -> String {
    format!("[Service]\nExecStart=/bin/sleep {variant}\n\n[X-Fleet]\n{wishes}")
}
