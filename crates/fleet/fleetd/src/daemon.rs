//! Lifecycle of the daemon: runs nodes, reloads the configuration, stops.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fleet_config::{Command, Config, VERSION, config_path};
use fleet_http::Settings as ApiSettings;
use fleet_node::{Environment, EtcdStore, Jitter, Metrics, Node, Settings};
use service::{Stop, notify};
use systemd_units::{Bus, Units};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backend::{Api, Current};
use crate::listeners::Listeners;
use crate::peers::{Asker, Responder};
use crate::process::{directory, log_targets};
use crate::state_files::{FenceSettings, RuntimeState, StartHistory};
use crate::systemd::Systemd;
use crate::{facts, fence, machine, store};

const WAITING: &str = "waiting for the key-value store";
/// After this time, READY=1 is sent even if the store is unavailable: units ordered after fleetd may include the store,
/// as with user-data that lists fleet first.
const READY_TIMEOUT: Duration = Duration::from_secs(20);

pub fn run(args: &[String], config: Config, warnings: &[String]) -> anyhow::Result<()> {
    let log = service::log::start("fleetd", log_targets(config.debug))?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("threads")?;
    // A running node sends the watchdog notifications.
    let node_runs_watchdog = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        tokio::select! {
            done = run_until_stopped(args, config, log, node_runs_watchdog.clone()) => done,
            () = notify::run_watchdog_while(|| !node_runs_watchdog.load(Ordering::SeqCst)) => Ok(()),
        }
    })
}

/// State that persists across reloads.
struct Process {
    api: Arc<Api>,
    metrics: Arc<Metrics>,
    starts: StartHistory,
    kept: RuntimeState,
    me: fleet_core::MachineId,
    new_fence_key: fleet_core::FenceKey,
    /// Whether a node is running.
    node_runs_watchdog: Arc<AtomicBool>,
}

/// Resources that a configuration names and that may be unavailable, such as certificates.
struct Resources {
    store: EtcdStore,
    units: Units,
}

/// A running node, and the task that responds to peers.
struct Running {
    node: Node<EtcdStore, Systemd>,
    answering: Option<JoinHandle<()>>,
}

/// Why a node stops.
enum ExitReason {
    Stop,
    Reload(Box<Config>, Box<Resources>),
}

async fn run_until_stopped(
    args: &[String],
    mut config: Config,
    log: service::log::Filter,
    node_runs_watchdog: Arc<AtomicBool>,
) -> anyhow::Result<()> {
    let me = machine::id()?;
    let stop = Stop::by_signal()?;
    let (mut hangup, mut user_signal) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let listeners = Listeners::inherited()?;
    if listeners.is_empty() {
        tracing::warn!("no socket was passed by systemd: this machine has no API");
    }
    let metrics = Arc::new(Metrics::new().context("metrics")?);
    let process = Process {
        api: Arc::new(Api::new(me.clone(), metrics.clone())),
        metrics,
        starts: StartHistory::begin(&directory("STATE_DIRECTORY", "/var/lib/fleet"))?,
        kept: RuntimeState::at(&directory("RUNTIME_DIRECTORY", "/run/fleet")),
        me,
        new_fence_key: machine::new_fence_key()?,
        node_runs_watchdog,
    };
    let mut resources = Resources::of(&config)?;
    fence::stop_service(&resources.units).await;
    loop {
        let running = process.start(&config, resources);
        let serving = tokio::spawn(fleet_http::serve(
            listeners.copies()?,
            process.api.clone(),
            ApiSettings::new(VERSION, config.token_limit),
            std::future::pending(),
        ));
        let reason = next_exit_reason(args, &running, &stop, &mut hangup, &mut user_signal).await;
        let purge = match &reason {
            ExitReason::Stop => {
                notify::stopping();
                config.purge_on_stop || machine::is_going_down().await
            }
            ExitReason::Reload(..) => false,
        };
        // The next node serves on the same sockets. Open connections are closed.
        serving.abort();
        process.stop_node(running, purge).await;
        match reason {
            ExitReason::Stop => return Ok(()),
            ExitReason::Reload(new, new_resources) => {
                (config, resources) = (*new, *new_resources);
                log.set(log_targets(config.debug));
            }
        }
    }
}

async fn next_exit_reason(
    args: &[String],
    running: &Running,
    stop: &Stop,
    hangup: &mut Signal,
    user_signal: &mut Signal,
) -> ExitReason {
    let mut standing = running.node.store_link().subscribe();
    let ready = standing.wait_for(fleet_node::LinkState::is_serving);
    tokio::pin!(ready);
    let mut ready_timeout = pin!(sleep(READY_TIMEOUT));
    let (mut notified, mut timed_out) = (false, false);
    notify::status(WAITING);
    loop {
        tokio::select! {
            _ = &mut ready, if !notified => {
                notified = true;
                notify::ready("in the cluster");
            }
            () = &mut ready_timeout, if !notified && !timed_out => {
                timed_out = true;
                notify::ready(WAITING);
            }
            () = stop.clone().wait() => return ExitReason::Stop,
            _ = hangup.recv() => {
                notify::reloading(machine::monotonic());
                if let Some((config, resources)) = reload_config(args) {
                    return ExitReason::Reload(Box::new(config), Box::new(resources));
                }
                notify::ready("the configuration is as it was: the new one is wrong");
            }
            _ = user_signal.recv() => println!("{}", running.node.describe()),
        }
    }
}

/// Returns `None` if the configuration is invalid or a resource is unavailable; then the old configuration stays.
fn reload_config(args: &[String]) -> Option<(Config, Resources)> {
    let path = config_path(args).unwrap_or_default();
    tracing::info!("Reloading configuration from {}", path.display());
    match fleet_config::read(&facts::gather(args)) {
        Ok(Command::Run { config, warnings }) => {
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            match Resources::of(&config) {
                Ok(resources) => Some((*config, resources)),
                Err(error) => {
                    tracing::error!("{error:#}");
                    None
                }
            }
        }
        Ok(Command::Print(_) | Command::Fence) => None,
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
        self.kept.save_fence(&FenceSettings {
            ttl: config.agent_ttl,
            partition_port: config.partition_port,
            units_directory: config.units_directory.clone(),
            systemd_user: config.systemd_user,
        });
        let settings = self.settings(config);
        let Resources { store, units } = resources;
        let environment = Environment {
            // As long as until the next try.
            lease_store: store.with_timeout(config.etcd.request_timeout.max(settings.retry_interval())),
            store,
            unit_manager: Systemd(units),
            peers: Asker { port: config.partition_port },
            save_state: self.kept.save_contact(),
            save_units: self.kept.save_units(),
            alive: Arc::new(notify::keep_alive),
        };
        let node = Node::start(settings, self.metrics.clone(), environment);
        let (of_key, of_store) = (node.peer_responder(), node.peer_responder());
        let responder = Responder {
            me: self.me.clone(),
            fence_key: move || of_key.fence_key(),
            has_store: move || {
                let of_store = of_store.clone();
                async move { of_store.has_store().await }
            },
        };
        let answering = config.partition_port.map(|port| tokio::spawn(responder.run(port)));
        self.api.set(Some(Current {
            registry: node.registry().clone(),
            store_link: node.store_link().clone(),
            requests: node.requests(),
        }));
        self.node_runs_watchdog.store(true, Ordering::SeqCst);
        Running { node, answering }
    }

    async fn stop_node(&self, running: Running, purge: bool) {
        self.api.set(None);
        if let Some(answering) = running.answering {
            answering.abort();
        }
        self.node_runs_watchdog.store(false, Ordering::SeqCst);
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
            store_timeout: config.etcd.request_timeout,
            instance: self.starts.instance.clone(),
            previous_instances: self.starts.earlier.clone(),
            saved_state: self.kept.contact(),
            launched: self.kept.units(),
            new_fence_key: self.new_fence_key.clone(),
            clock: machine::clock(),
            jitter: Jitter(Arc::new(fastrand::f64)),
        }
    }
}
