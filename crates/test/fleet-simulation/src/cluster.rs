//! A simulated cluster: hosts, store, operators and faults.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleet_core::{Cordon, FenceKey, JobState, MachineId};
use fleet_node::{
    Clock, Environment, Jitter, Metrics, Node, Requests, Settings, StandaloneFence, run_standalone_fence,
};
use tokio::time::{Instant, sleep};
use unit_file::{UnitFile, UnitName};

use crate::host::Host;
use crate::lan::Lan;
use crate::ledger::Ledger;
use crate::memory::MemoryStore;
use crate::store::{Link, Service};

pub const TTL: Duration = Duration::from_secs(30);

/// Options of all histories of a test.
#[derive(Clone, Copy)]
pub struct Options {
    /// The machines' monotonic clock, given the start of the history.
    pub clock: fn(Instant) -> Clock,
    /// Logs the history to standard error.
    pub verbose: bool,
    pub ttl: Duration,
    /// `None`: two to five, by the seed.
    pub machines: Option<usize>,
    /// Number of units that operators submit.
    pub units: usize,
    /// Unit options, one of which the seed chooses for each unit.
    pub texts: &'static [&'static str],
}

impl Options {
    pub const DEFAULT: Self = Self {
        clock: |started| Clock(Arc::new(move || started.elapsed())),
        verbose: false,
        ttl: TTL,
        machines: None,
        units: 8,
        texts: &TEXTS,
    };
}

pub struct Cluster<S: Service> {
    pub service: S,
    pub ledger: Ledger,
    pub hosts: Vec<Host<S::Link>>,
    lan: Lan<S::Link>,
    rng: fastrand::Rng,
    options: Options,
    started: Instant,
    starts: Arc<AtomicU64>,
    /// Submitted units with text and desired state.
    pub(crate) submitted: BTreeMap<String, (String, JobState)>,
    pub(crate) faults: Vec<String>,
    /// Of machines that are started from now on. Durations of faults scale with it.
    pub ttl: Duration,
    /// Of machines that are started from now on.
    pub disable_engine: bool,
}

/// Unit options by scheduling requirement.
const TEXTS: [&str; 6] =
    ["", "", "Conflicts=web*.service\n", "AllowOverlap=yes\n", "Global=true\n", "StopOnPartition=no\n"];

impl<S: Service> Cluster<S> {
    /// A cluster with running units. `service` creates the store.
    pub async fn new(seed: u64, options: Options, service: impl FnOnce(fastrand::Rng) -> S) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let drawn = rng.usize(2..6);
        let machines = options.machines.unwrap_or(drawn);
        let service = service(rng.fork());
        let mut cluster = Self::with_service(machines, service, rng, options);
        for number in 0..machines {
            cluster.start(number);
        }
        for number in 0..options.units {
            let text = options.texts[cluster.rng.usize(0..options.texts.len())];
            // Global units run on every machine, so nothing may conflict with them.
            let kind = if number % 2 == 0 && !text.contains("Global") { "web" } else { "job" };
            let name = format!("{kind}{number}.service");
            cluster.submitted.insert(name, (unit_text(text, 0), JobState::Launched));
        }
        sleep(Duration::from_secs(5)).await;
        let names: Vec<String> = cluster.submitted.keys().cloned().collect();
        for name in names {
            cluster.submit(&name).await;
        }
        sleep(Duration::from_secs(5)).await;
        cluster
    }

    /// A cluster whose machines are not started.
    pub fn with_service(machines: usize, service: S, mut rng: fastrand::Rng, options: Options) -> Self {
        let ledger = if options.verbose { Ledger::with_log(Instant::now()) } else { Ledger::default() };
        let hosts = (0..machines)
            .map(|number| Host::new(number, ledger.clone(), service.link(number), options.ttl, rng.fork()))
            .collect();
        Self {
            service,
            ledger,
            hosts,
            lan: Lan::new(),
            rng,
            options,
            started: Instant::now(),
            starts: Arc::default(),
            submitted: BTreeMap::new(),
            faults: Vec::new(),
            ttl: options.ttl,
            disable_engine: false,
        }
    }

    pub(crate) fn log(&self, text: &str) {
        if self.options.verbose {
            eprintln!("{:9.3} {text}", self.started.elapsed().as_secs_f64());
        }
    }

    fn settings(&self, number: usize, instance: String) -> Settings {
        let host = &self.hosts[number];
        let mut rng = fastrand::Rng::with_seed(self.starts.load(Ordering::Relaxed));
        let shares = (0..64).map(|_| rng.f64()).collect::<Vec<_>>();
        let next = AtomicU64::new(0);
        let rng_key = std::array::from_fn(|_| rng.u8(..));
        Settings {
            machine_id: MachineId::new(&host.id),
            public_ip: {
                let id = host.id.clone();
                Arc::new(move || id.clone())
            },
            metadata: BTreeMap::from([("number".to_owned(), number.to_string())]),
            capacity: fleet_core::Capacity::default(),
            version: "1.0.0".into(),
            ttl: self.ttl,
            engine_interval: Duration::from_secs(2),
            disable_engine: self.disable_engine,
            disable_watches: false,
            store_timeout: Duration::from_secs(1),
            instance,
            previous_instances: host.instances.clone(),
            saved_state: host.systemd.saved_state.lock().unwrap().clone(),
            launched: host.systemd.launched.lock().unwrap().clone(),
            new_fence_key: FenceKey(rng_key),
            clock: (self.options.clock)(self.started),
            jitter: Jitter(Arc::new(move || shares[next.fetch_add(1, Ordering::Relaxed) as usize % 64])),
        }
    }

    pub fn start(&mut self, number: usize) {
        let number_of_start = self.starts.fetch_add(1, Ordering::Relaxed);
        let instance = format!("start-{number_of_start}");
        let settings = self.settings(number, instance.clone());
        let host = &mut self.hosts[number];
        host.instances.push(instance);
        let environment = Environment {
            store: host.link.clone(),
            lease_store: host.link.with_timeout(settings.retry_interval()),
            unit_manager: host.systemd.clone(),
            peers: self.lan.link(&host.id),
            save_state: host.systemd.save_state(),
            save_units: host.systemd.save_units(),
            alive: Arc::new(|| ()),
        };
        let node = Node::start(settings, Arc::new(Metrics::new().unwrap()), environment);
        self.lan.connect(&host.id, node.peer_responder());
        host.node = Some(node);
    }

    /// Like SIGKILL: the node's tasks end, units keep running, and systemd starts the fence.
    pub fn kill(&mut self, number: usize) {
        self.lan.disconnect(&self.hosts[number].id);
        self.hosts[number].node = None;
        let settings = self.settings(number, String::new());
        let host = &mut self.hosts[number];
        let unit_manager = host.systemd.clone();
        let fence = StandaloneFence {
            unit_manager,
            peers: self.lan.link(&host.id),
            save_state: host.systemd.save_state(),
            save_units: host.systemd.save_units(),
        };
        host.fence.spawn(run_standalone_fence(settings, fence));
    }

    /// Starts fleetd again after stopping the fence.
    pub async fn restart(&mut self, number: usize) {
        self.hosts[number].fence.shutdown().await;
        self.start(number);
    }

    /// Power failure.
    pub async fn crash(&mut self, number: usize) {
        self.kill(number);
        self.hosts[number].fence.shutdown().await;
        self.hosts[number].systemd.crash();
    }

    /// Operators use any node that can reach the store.
    async fn requests(&self) -> Requests<S::Link> {
        loop {
            let serving = self.hosts.iter().filter_map(|host| host.node.as_ref());
            if let Some(node) = serving.rev().find(|node| node.store_link().state().is_serving()) {
                return node.requests();
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    pub async fn submit(&mut self, name: &str) {
        let (text, desired) = self.submitted[name].clone();
        self.log(&format!("submit {name} {desired}: {text:?}"));
        let file = UnitFile::from_text(&text).unwrap();
        let name = UnitName::parse(name).unwrap();
        // Operators retry until the request succeeds.
        while self.requests().await.create(&name, &file, desired).await.is_err() {}
    }

    pub async fn inject_random_fault(&mut self) {
        let number = self.rng.usize(0..self.hosts.len());
        match self.rng.u32(0..12 + S::FAULT_WEIGHT) {
            0 => self.partition(number, true).await,
            1 => self.partition(number, false).await,
            2 => self.store_outage().await,
            3 => {
                self.log(&format!("kill fleetd of {number}"));
                self.kill(number);
                // systemd restarts it after some time.
                self.random_sleep(50..90_000).await;
                self.restart(number).await;
            }
            4 => {
                self.log(&format!("crash {number}"));
                self.crash(number).await;
                self.random_sleep(500..90_000).await;
                self.start(number);
            }
            5 => self.leave(number).await,
            6 | 7 => self.change_unit().await,
            8 => self.change_desired_state().await,
            9 => self.drain_and_uncordon(number).await,
            10 => {
                let slowest = self.rng.u64(100..3_000);
                self.log(&format!("the way of {number} to the store takes up to {slowest} ms"));
                self.hosts[number].link.set_slow(Some(0..slowest));
            }
            11 => {
                self.log(&format!("{number} hears of no change any more"));
                self.hosts[number].link.stall_watches();
            }
            _ => {
                let inject_fault = self.service.inject_fault(&mut self.rng);
                self.log(&inject_fault);
            }
        }
        self.random_sleep(0..60_000).await;
        self.service.heal();
        self.hosts[number].link.set_slow(None);
    }

    /// Sleeps a random number of milliseconds, scaled by the TTL relative to [`TTL`].
    async fn random_sleep(&mut self, millis: Range<u64>) {
        let time = Duration::from_millis(self.rng.u64(millis));
        sleep(time.mul_f64(self.ttl.as_secs_f64() / TTL.as_secs_f64())).await;
    }

    async fn partition(&mut self, number: usize, also_lan: bool) {
        let id = self.hosts[number].id.clone();
        self.log(&format!("cut {number} off, LAN too: {also_lan}"));
        self.hosts[number].link.set_cut(true);
        self.lan.set_cut(&id, also_lan);
        self.random_sleep(500..120_000).await;
        self.log(&format!("{number} is back"));
        self.set_partitioned(number, false);
    }

    /// Starts all machines and `units` units.
    pub async fn with_units(mut self, units: usize) -> Self {
        (0..self.hosts.len()).for_each(|number| self.start(number));
        sleep(Duration::from_secs(5)).await;
        for number in 0..units {
            let name = format!("unit{number}.service");
            self.submitted.insert(name.clone(), (unit_text("", 0), JobState::Launched));
            self.submit(&name).await;
        }
        sleep(Duration::from_secs(10)).await;
        assert_eq!((self.ledger.running().len(), self.ledger.starts()), (units, units));
        self
    }

    /// From the store and from the other machines.
    pub fn set_partitioned(&self, number: usize, cut: bool) {
        self.hosts[number].link.set_cut(cut);
        self.lan.set_cut(&self.hosts[number].id, cut);
    }

    async fn store_outage(&mut self) {
        self.log("the store goes away");
        self.service.set_down(true);
        self.random_sleep(500..180_000).await;
        self.log("the store is back");
        self.service.set_down(false);
    }

    /// Graceful stop, and a later start.
    async fn leave(&mut self, number: usize) {
        self.log(&format!("{number} leaves"));
        if let Some(node) = self.hosts[number].node.take() {
            self.lan.disconnect(&self.hosts[number].id);
            node.stop(true).await;
        }
        self.random_sleep(500..60_000).await;
        self.log(&format!("{number} comes back"));
        self.start(number);
    }

    async fn change_unit(&mut self) {
        let names: Vec<String> = self.submitted.keys().cloned().collect();
        let name = names[self.rng.usize(0..names.len())].clone();
        let text = unit_text(TEXTS[self.rng.usize(0..4)], self.rng.u32(1..1000));
        // A global unit would lose that property, and one that may run twice might still do so with its new options.
        if ["Global", "StopOnPartition"].iter().any(|option| self.submitted[&name].0.contains(option)) {
            return;
        }
        self.submitted.insert(name.clone(), (text, JobState::Launched));
        self.submit(&name).await;
    }

    async fn change_desired_state(&mut self) {
        let names: Vec<String> = self.submitted.keys().cloned().collect();
        let name = names[self.rng.usize(0..names.len())].clone();
        let states = [JobState::Inactive, JobState::Loaded, JobState::Launched];
        let desired = states[self.rng.usize(0..3)];
        self.log(&format!("{name} is to be {desired}"));
        self.submitted.get_mut(&name).unwrap().1 = desired;
        let unit = UnitName::parse(&name).unwrap();
        while self.requests().await.set_desired(&unit, desired).await.is_err() {}
    }

    /// Unschedules units at the moment when they are scheduled.
    async fn drain_and_uncordon(&mut self, number: usize) {
        self.log(&format!("{number} is drained, opened, and drained again"));
        let id = MachineId::new(&self.hosts[number].id);
        for _ in 0..self.rng.u32(1..6) {
            for cordon in [Cordon::Draining, Cordon::Open] {
                while self.requests().await.set_cordon(&id, cordon).await.is_err() {}
                sleep(Duration::from_micros(self.rng.u64(0..40_000))).await;
                let names: Vec<String> = self.submitted.keys().cloned().collect();
                let name = UnitName::parse(&names[self.rng.usize(0..names.len())]).unwrap();
                let desired = self.submitted[name.as_str()].1;
                if desired == JobState::Launched {
                    for state in [JobState::Inactive, JobState::Launched] {
                        while self.requests().await.set_desired(&name, state).await.is_err() {}
                        sleep(Duration::from_micros(self.rng.u64(0..8_000))).await;
                    }
                }
            }
        }
    }
}

/// With the store model.
impl Cluster<MemoryStore> {
    /// A cluster whose machines are not started.
    pub fn unstarted(machines: usize, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let service = MemoryStore::new(rng.fork());
        Self::with_service(machines, service, rng, Options::DEFAULT)
    }

    /// A cluster with running units.
    pub async fn running(machines: usize, units: usize) -> Self {
        Self::unstarted(machines, 5).with_units(units).await
    }
}

fn unit_text(options_text: &str, variant: u32) -> String {
    format!("[Service]\nExecStart=/bin/sleep {variant}\n\n[X-Fleet]\n{options_text}")
}
