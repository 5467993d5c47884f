//! Machines, the store, the operators, and what goes wrong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleet_core::{Cordon, JobState, MachineId};
use fleet_node::{Alone, Chance, Clock, Metrics, Node, Requests, Settings, World as Parts, keep_fence};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::lan::Lan;
use crate::ledger::Ledger;
use crate::memory::MemoryStore;
use crate::place::Place;
use crate::store::{Link, Service};

pub const TTL: Duration = Duration::from_secs(30);

/// What is the same in all histories of a test.
#[derive(Clone, Copy)]
pub struct Options {
    /// What machines count time by, given the beginning.
    pub clock: fn(Instant) -> Clock,
    /// Its story goes to standard error.
    pub told: bool,
    pub ttl: Duration,
    /// None: two to five, as the seed has it.
    pub machines: Option<usize>,
    /// That operators ask for.
    pub units: usize,
    /// What these ask for, of which the seed takes one each.
    pub texts: &'static [&'static str],
}

impl Options {
    pub const USUAL: Self = Self {
        clock: |begun| Clock(Arc::new(move || begun.elapsed())),
        told: false,
        ttl: TTL,
        machines: None,
        units: 8,
        texts: &TEXTS,
    };
}

pub struct World<S: Service> {
    pub service: S,
    pub ledger: Ledger,
    pub places: Vec<Place<S::Link>>,
    lan: Lan<S::Link>,
    chance: fastrand::Rng,
    options: Options,
    begun: Instant,
    starts: Arc<AtomicU64>,
    /// What operators have asked for, and what each unit's text is.
    pub(crate) asked: BTreeMap<String, (String, JobState)>,
    pub(crate) faults: Vec<String>,
    /// Of machines that are started from now on. How long troubles take goes with it.
    pub ttl: Duration,
    /// The same: they never lead.
    pub disable_engine: bool,
}

/// Texts of units, by what they ask for.
const TEXTS: [&str; 6] =
    ["", "", "Conflicts=web*.service\n", "AllowOverlap=yes\n", "Global=true\n", "StopOnPartition=no\n"];

impl<S: Service> World<S> {
    /// A cluster with units, at rest. `service` makes the store.
    pub async fn new(seed: u64, options: Options, service: impl FnOnce(fastrand::Rng) -> S) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let drawn = chance.usize(2..6);
        let machines = options.machines.unwrap_or(drawn);
        let service = service(chance.fork());
        let mut world = Self::of(machines, service, chance, options);
        for number in 0..machines {
            world.start(number);
        }
        for number in 0..options.units {
            let text = options.texts[world.chance.usize(0..options.texts.len())];
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
    pub fn of(machines: usize, service: S, mut chance: fastrand::Rng, options: Options) -> Self {
        let ledger = if options.told { Ledger::told(Instant::now()) } else { Ledger::default() };
        let places = (0..machines)
            .map(|number| {
                Place::new(number, ledger.clone(), service.link(number), options.ttl, chance.fork())
            })
            .collect();
        Self {
            service,
            ledger,
            places,
            lan: Lan::new(),
            chance,
            options,
            begun: Instant::now(),
            starts: Arc::default(),
            asked: BTreeMap::new(),
            faults: Vec::new(),
            ttl: options.ttl,
            disable_engine: false,
        }
    }

    pub(crate) fn tell(&self, text: &str) {
        if self.options.told {
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
            capacity: fleet_core::Capacity::default(),
            version: "1.0.0".into(),
            ttl: self.ttl,
            engine_interval: Duration::from_secs(2),
            disable_engine: self.disable_engine,
            disable_watches: false,
            instance,
            earlier_instances: place.starts.clone(),
            remembered: place.machine.memory.lock().unwrap().clone(),
            launched: place.machine.launched.lock().unwrap().clone(),
            clock: (self.options.clock)(self.begun),
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
    async fn requests(&self) -> Requests<S::Link> {
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
        match self.chance.u32(0..12 + S::FAULTS) {
            0 => self.cut_off(number, true).await,
            1 => self.cut_off(number, false).await,
            2 => self.store_away().await,
            3 => {
                self.tell(&format!("kill fleetd of {number}"));
                self.kill(number);
                // systemd starts it again, sooner or later.
                self.some_time(50..90_000).await;
                self.start_again(number).await;
            }
            4 => {
                self.tell(&format!("crash {number}"));
                self.crash(number).await;
                self.some_time(500..90_000).await;
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
                let fault = self.service.fault(&mut self.chance);
                self.tell(&fault);
            }
        }
        self.some_time(0..60_000).await;
        self.service.heal();
        self.places[number].link.set_slow(None);
    }

    /// Some milliseconds, as with a TTL of [`TTL`].
    async fn some_time(&mut self, millis: Range<u64>) {
        let time = Duration::from_millis(self.chance.u64(millis));
        sleep(time.mul_f64(self.ttl.as_secs_f64() / TTL.as_secs_f64())).await;
    }

    async fn cut_off(&mut self, number: usize, also_lan: bool) {
        let id = self.places[number].id.clone();
        self.tell(&format!("cut {number} off, LAN too: {also_lan}"));
        self.places[number].link.set_cut(true);
        self.lan.set_cut(&id, also_lan);
        self.some_time(500..120_000).await;
        self.tell(&format!("{number} is back"));
        self.set_cut(number, false);
    }

    /// All machines started, and each of so many units running on one of them.
    pub async fn with_units(mut self, units: usize) -> Self {
        (0..self.places.len()).for_each(|number| self.start(number));
        sleep(Duration::from_secs(5)).await;
        for number in 0..units {
            let name = format!("unit{number}.service");
            self.asked.insert(name.clone(), (unit_text("", 0), JobState::Launched));
            self.submit(&name).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!((self.ledger.running().len(), self.ledger.starts()), (units, units));
        self
    }

    /// From the store, and from the other machines.
    pub fn set_cut(&self, number: usize, cut: bool) {
        self.places[number].link.set_cut(cut);
        self.lan.set_cut(&self.places[number].id, cut);
    }

    async fn store_away(&mut self) {
        self.tell("the store goes away");
        self.service.set_down(true);
        self.some_time(500..180_000).await;
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
        self.some_time(500..60_000).await;
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
}

/// Over the model of a store.
impl World<MemoryStore> {
    /// Machines on which nothing was started yet.
    pub fn bare(machines: usize, seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let service = MemoryStore::new(chance.fork());
        Self::of(machines, service, chance, Options::USUAL)
    }

    /// Each of the units runs on one of the machines.
    pub async fn at_rest(machines: usize, units: usize) -> Self {
        Self::bare(machines, 5).with_units(units).await
    }
}

fn unit_text(wishes: &str, variant: u32) -> String {
    format!("[Service]\nExecStart=/bin/sleep {variant}\n\n[X-Fleet]\n{wishes}")
}
