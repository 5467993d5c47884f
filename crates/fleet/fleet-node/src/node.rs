//! A running node: starts, connects and stops all parts.

use std::sync::{Arc, Mutex};

use fleet_core::FenceKey;
use fleet_core::registry::Key;
use tokio::task::JoinSet;

use crate::agent::{Agent, LocalUnits, SaveUnits};
use crate::engine::Engine;
use crate::fence::{self, FenceMonitor};
use crate::metrics::Metrics;
use crate::presence::{Presence, capacity, is_foreign_presence};
use crate::publisher::publisher;
use crate::registry_cache::RegistryCache;
use crate::registry_sync::sync_registry;
use crate::requests::Requests;
use crate::settings::{SaveState, Settings};
use crate::store::{Precondition, Store, StoreError};
use crate::store_link::StoreLink;
use crate::unit_manager::{Peers, UnitManager};

/// I/O of a node.
pub struct Environment<S, H, P> {
    pub store: S,
    /// The same store with longer timeouts, for presence and lease: a late response is better than none, since units
    /// stop without it.
    pub lease_store: S,
    pub unit_manager: H,
    pub peers: P,
    pub save_state: SaveState,
    /// Called with the launched units and the hashes of their files.
    pub save_units: SaveUnits,
    /// Keep-alive of the fence: called at least once per second.
    pub alive: Arc<dyn Fn() + Send + Sync>,
}

/// A running node. Dropping it stops its tasks; units keep running.
pub struct Node<S, H> {
    settings: Arc<Settings>,
    registry: Arc<RegistryCache>,
    store_link: Arc<StoreLink>,
    metrics: Arc<Metrics>,
    agent: Agent<S, H>,
    engine: Engine<S>,
    /// Agent and engine.
    unit_tasks: JoinSet<()>,
    /// Presence and fence. They run until no unit may run here.
    guard_tasks: JoinSet<()>,
    /// Registry sync and publisher.
    registry_tasks: JoinSet<()>,
}

impl<S: Store, H: UnitManager> Node<S, H> {
    /// Needs a tokio runtime.
    pub fn start<P: Peers>(
        settings: Settings,
        metrics: Arc<Metrics>,
        environment: Environment<S, H, P>,
    ) -> Self {
        let settings = Arc::new(settings);
        let registry = Arc::new(RegistryCache::default());
        let last_heartbeat = settings.saved_state.as_ref().map(|state| state.last_heartbeat);
        let store_link = Arc::new(StoreLink::new(last_heartbeat));
        let Environment { store, lease_store, unit_manager, peers, save_state, save_units, alive } =
            environment;
        let (publisher, publisher_task) = publisher(store.clone(), &settings);
        let agent = Agent {
            store: store.clone(),
            unit_manager,
            publisher,
            settings: settings.clone(),
            registry: registry.clone(),
            store_link: store_link.clone(),
            local_units: Arc::new(LocalUnits::new(save_units)),
            metrics: metrics.clone(),
        };
        let engine = Engine {
            store: store.clone(),
            lease_store: lease_store.clone(),
            settings: settings.clone(),
            registry: registry.clone(),
            store_link: store_link.clone(),
            metrics: metrics.clone(),
            lease_index: Arc::new(Mutex::new(None)),
        };
        tracing::info!("Starting server components");
        let (mut unit_tasks, mut guard_tasks, mut registry_tasks) =
            (JoinSet::new(), JoinSet::new(), JoinSet::new());
        registry_tasks.spawn(publisher_task.run());
        registry_tasks.spawn({
            let (store, registry, settings) = (store.clone(), registry.clone(), settings.clone());
            let store_link = store_link.clone();
            async move { sync_registry(store, &registry, &store_link, &settings).await }
        });
        guard_tasks.spawn({
            let (settings, registry, store_link) = (settings.clone(), registry.clone(), store_link.clone());
            let publisher = agent.publisher.clone();
            async move {
                let store = lease_store;
                let (settings, registry, store_link) = (&*settings, &*registry, &*store_link);
                Presence { store, settings, registry, store_link, publisher }.run().await;
            }
        });
        guard_tasks.spawn({
            let (settings, registry, store_link) = (settings.clone(), registry.clone(), store_link.clone());
            async move {
                let (save_state, alive) = (&*save_state, &*alive);
                let (settings, registry, store_link) = (&*settings, &*registry, &*store_link);
                FenceMonitor { peers, settings, registry, store_link, save_state, alive }.run().await;
            }
        });
        unit_tasks.spawn(agent.clone().run());
        guard_tasks.spawn(agent.fence_enforcer().run());
        unit_tasks.spawn(engine.clone().run());
        Self {
            settings,
            registry,
            store_link,
            metrics,
            agent,
            engine,
            unit_tasks,
            guard_tasks,
            registry_tasks,
        }
    }

    pub fn registry(&self) -> &Arc<RegistryCache> {
        &self.registry
    }

    pub fn store_link(&self) -> &Arc<StoreLink> {
        &self.store_link
    }

    pub fn requests(&self) -> Requests<S> {
        Requests {
            store: self.agent.store.clone(),
            registry: self.registry.clone(),
            metrics: self.metrics.clone(),
            timeout: self.settings.request_timeout(),
        }
    }

    /// Responds to peers that ask whether this node can reach the store.
    pub fn peer_responder(&self) -> PeerResponder<S> {
        PeerResponder {
            store: self.agent.store.clone(),
            registry: self.registry.clone(),
            store_link: self.store_link.clone(),
            settings: self.settings.clone(),
        }
    }

    /// State for debugging.
    pub fn describe(&self) -> serde_json::Value {
        let link_state = self.store_link.state();
        let (local, busy) = self.agent.local_units.snapshot();
        let units: serde_json::Map<_, _> =
            local.iter().map(|(name, local)| (name.to_string(), local.state.to_string().into())).collect();
        serde_json::json!({
            "machineID": self.settings.machine_id.as_str(),
            "index": self.registry.index(),
            "serving": link_state.is_serving(),
            "lastBeatSeconds": link_state.last_heartbeat.map(|last_heartbeat| last_heartbeat.as_secs_f64()),
            "fence": format!("{:?}", link_state.fence),
            "leader": self.registry.with_view(|view| view.lease().map(|lease| lease.machine.to_string())),
            "units": units,
            "busy": busy.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    /// Stops all tasks. With `purge`, units are stopped and removed and the machine leaves the cluster; without,
    /// units keep running and the next start adopts them.
    pub async fn stop(mut self, purge: bool) {
        self.unit_tasks.shutdown().await;
        self.engine.release().await;
        let present = !is_foreign_presence(&self.settings, &self.registry);
        if purge {
            if present {
                self.publish_full().await;
            }
            self.agent.purge().await;
        }
        self.guard_tasks.shutdown().await;
        if purge && present {
            self.deregister().await;
        }
        self.registry_tasks.shutdown().await;
    }

    /// Publishes a capacity of zero, so that no unit is assigned to a machine that leaves.
    async fn publish_full(&self) {
        self.store_link.leave();
        let key = Key::MachineCapacity(self.settings.machine_id.clone());
        let (full, ttl) = (capacity(&self.settings, &self.store_link).encode(), Some(self.settings.ttl));
        if let Err(error) = self.agent.store.put(&key, &full, ttl, Precondition::Always).await {
            tracing::warn!("telling that this machine leaves: {error}");
        }
    }

    async fn deregister(&self) {
        let machine_id = &self.settings.machine_id;
        let keys = [
            Key::MachineObject(machine_id.clone()),
            Key::MachineCapacity(machine_id.clone()),
            Key::MachineInstance(machine_id.clone()),
        ];
        for key in keys {
            match self.agent.store.delete(&key, Precondition::Always).await {
                Ok(_) | Err(StoreError::Rejected(_)) => {}
                Err(error) => return tracing::warn!("taking back this machine's presence: {error}"),
            }
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct PeerResponder<S> {
    store: S,
    registry: Arc<RegistryCache>,
    store_link: Arc<StoreLink>,
    settings: Arc<Settings>,
}

impl<S: Store> PeerResponder<S> {
    /// Authenticates queries and responses. Without a key, no query can be.
    pub fn fence_key(&self) -> Option<FenceKey> {
        fence::fence_key(&self.registry, &self.settings)
    }

    pub async fn has_store(&self) -> bool {
        let response = self.store.get(&Key::EngineVersion).await;
        if response.is_ok() {
            return true;
        }
        // Before the response: from now on this node considers no machine failed for a TTL.
        self.store_link.will_report_no_store(self.settings.clock.now());
        false
    }
}
