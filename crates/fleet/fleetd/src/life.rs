//! From the configuration to a running node, through reloads, to the end.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fleet_config::{Config, Task, VERSION, file_wanted};
use fleet_http::Settings as ApiSettings;
use fleet_node::{Environment, EtcdStore, Jitter, Metrics, Node, Settings};
use service::{Stop, notify};
use systemd_units::{Bus, Units};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backend::{Api, Current};
use crate::hands::Systemd;
use crate::listeners::Listeners;
use crate::memory::{FenceSettings, Kept, Starts};
use crate::peers::Asker;
use crate::process::{folder, log_targets};
use crate::{facts, fence, machine, peers, store};

const WAITING: &str = "waiting for the key-value store";
/// A machine's boot waits so long until it is in the cluster, and no longer: what comes after may be the very store
/// that is missing, as with user-data that lists fleet first.
const BOOT_PATIENCE: Duration = Duration::from_secs(20);

pub fn run(args: &[String], config: Config, warnings: &[String]) -> anyhow::Result<()> {
    let log = service::log::start("fleetd", log_targets(config.debug))?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("threads")?;
    // A node tells systemd by itself that its guard is at work.
    let guarded = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        tokio::select! {
            done = whole(args, config, log, guarded.clone()) => done,
            () = notify::run_watchdog_while(|| !guarded.load(Ordering::SeqCst)) => Ok(()),
        }
    })
}

/// What stays over reloads.
struct Process {
    api: Arc<Api>,
    metrics: Arc<Metrics>,
    starts: Starts,
    kept: Arc<Kept>,
    me: fleet_core::MachineId,
    /// A node runs.
    guarded: Arc<AtomicBool>,
}

/// Resources that a configuration names and that may be unavailable, such as certificates.
struct Resources {
    store: EtcdStore,
    units: Units,
}

/// A node, and who answers other nodes for it.
struct Running {
    node: Node<EtcdStore, Systemd>,
    answering: Option<JoinHandle<()>>,
}

/// Why a node ends.
enum End {
    Stop,
    Reload(Box<Config>, Box<Resources>),
}

async fn whole(
    args: &[String],
    mut config: Config,
    log: service::log::Filter,
    guarded: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let me = machine::id()?;
    let stop = Stop::by_signal()?;
    let (mut hangup, mut user) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let listeners = Listeners::inherited()?;
    if listeners.is_empty() {
        tracing::warn!("no socket was handed over: there is no API on this machine");
    }
    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let process = Process {
        api: Arc::new(Api::new(me.clone(), metrics.clone())),
        metrics,
        starts: Starts::begin(&folder("STATE_DIRECTORY", "/var/lib/fleet"))?,
        kept: Arc::new(Kept::at(&folder("RUNTIME_DIRECTORY", "/run/fleet"))),
        me,
        guarded,
    };
    let mut resources = Resources::of(&config)?;
    fence::end(&resources.units).await;
    loop {
        let running = process.start(&config, resources);
        let serving = tokio::spawn(fleet_http::serve(
            listeners.copies()?,
            process.api.clone(),
            ApiSettings::new(VERSION, config.token_limit),
            std::future::pending(),
        ));
        let end = until_end(args, &running, &stop, &mut hangup, &mut user).await;
        let purge = match &end {
            End::Stop => {
                notify::stopping();
                config.purge_on_stop || machine::is_going_down().await
            }
            End::Reload(..) => false,
        };
        // The next one serves on the same sockets; connections that are open end with this one.
        serving.abort();
        process.end(running, purge).await;
        match end {
            End::Stop => return Ok(()),
            End::Reload(new, new_resources) => {
                (config, resources) = (*new, *new_resources);
                log.set(log_targets(config.debug));
            }
        }
    }
}

async fn until_end(
    args: &[String],
    running: &Running,
    stop: &Stop,
    hangup: &mut Signal,
    user: &mut Signal,
) -> End {
    let mut standing = running.node.store_link().subscribe();
    let ready = standing.wait_for(fleet_node::LinkState::is_serving);
    tokio::pin!(ready);
    let mut patience = pin!(sleep(BOOT_PATIENCE));
    let (mut told, mut waited) = (false, false);
    notify::status(WAITING);
    loop {
        tokio::select! {
            _ = &mut ready, if !told => {
                told = true;
                notify::ready("in the cluster");
            }
            () = &mut patience, if !told && !waited => {
                waited = true;
                notify::ready(WAITING);
            }
            () = stop.clone().wait() => return End::Stop,
            _ = hangup.recv() => {
                notify::reloading(machine::monotonic());
                if let Some((config, resources)) = reloaded(args) {
                    return End::Reload(Box::new(config), Box::new(resources));
                }
                notify::ready("the configuration is as it was: the new one is wrong");
            }
            _ = user.recv() => println!("{}", running.node.describe()),
        }
    }
}

/// `None` if the configuration is invalid or a resource that it names is unavailable: the old one stays.
fn reloaded(args: &[String]) -> Option<(Config, Resources)> {
    let path = file_wanted(args).unwrap_or_default();
    tracing::info!("Reloading configuration from {}", path.display());
    match fleet_config::read(&facts::gather(args)) {
        Ok(Task::Run { config, warnings }) => {
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            match Resources::of(&config) {
                Ok(resources) => Some((*config, resources)),
                Err(error) => {
                    tracing::error!("{error:#}");
                    None
                }
            }
        }
        Ok(Task::Print(_) | Task::Fence) => None,
        Err(refusal) => {
            tracing::error!("{}", refusal.text.trim_end());
            None
        }
    }
}

impl Resources {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let bus = if config.systemd_user { Bus::Session } else { Bus::System };
        let units = Units::open(&config.units_directory, bus).context("the folder of units")?;
        Ok(Self { store: store::open(&config.etcd)?, units })
    }
}

impl Process {
    fn start(&self, config: &Config, resources: Resources) -> Running {
        let (kept, units_kept) = (self.kept.clone(), self.kept.clone());
        let told = |written: anyhow::Result<()>| {
            if let Err(error) = written {
                tracing::warn!("what the next start has to know: {error:#}");
            }
        };
        told(self.kept.write_fence(&FenceSettings {
            ttl: config.agent_ttl,
            partition_port: config.partition_port,
            units_directory: config.units_directory.clone(),
            systemd_user: config.systemd_user,
        }));
        let settings = self.settings(config);
        let Resources { store, units } = resources;
        let environment = Environment {
            // As long as until the next try.
            lease_store: store.with_timeout(config.etcd.request_timeout.max(settings.retry_interval())),
            store,
            unit_manager: Systemd(units),
            peers: Asker { port: config.partition_port },
            save_state: Arc::new(move |memory: &fleet_node::SavedState| {
                told(kept.write_contact(memory));
            }),
            save_units: Arc::new(move |units: &_| told(units_kept.write_units(units))),
            alive: Arc::new(notify::keep_alive),
        };
        let node = Node::start(settings, self.metrics.clone(), environment);
        let answerer = node.peer_responder();
        let has_store = move || {
            let answerer = answerer.clone();
            async move { answerer.has_store().await }
        };
        let answering =
            config.partition_port.map(|port| tokio::spawn(peers::answer(port, self.me.clone(), has_store)));
        self.api.set(Some(Current {
            registry: node.registry().clone(),
            store_link: node.store_link().clone(),
            requests: node.requests(),
        }));
        self.guarded.store(true, Ordering::SeqCst);
        Running { node, answering }
    }

    async fn end(&self, running: Running, purge: bool) {
        self.api.set(None);
        if let Some(answering) = running.answering {
            answering.abort();
        }
        self.guarded.store(false, Ordering::SeqCst);
        running.node.stop(purge).await;
    }

    fn settings(&self, config: &Config) -> Settings {
        let set = config.public_ip.clone();
        Settings {
            machine_id: self.me.clone(),
            public_ip: Arc::new(move || machine::public_ip(set.as_deref())),
            metadata: config.metadata.clone(),
            capacity: config.capacity,
            version: VERSION.to_owned(),
            ttl: config.agent_ttl,
            engine_interval: config.engine_reconcile_interval,
            disable_engine: config.disable_engine,
            disable_watches: config.disable_watches,
            instance: self.starts.instance.clone(),
            previous_instances: self.starts.earlier.clone(),
            saved_state: self.kept.contact(),
            launched: self.kept.units(),
            clock: machine::clock(),
            jitter: Jitter(Arc::new(fastrand::f64)),
        }
    }
}
