//! This machine's presence: registration and heartbeats.

use fleet_core::Capacity;
use fleet_core::registry::{Key, MachineObject};
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::publisher::KeyPublisher;
use crate::registry_cache::RegistryCache;
use crate::settings::Settings;
use crate::store::{Precondition, Store, StoreError};
use crate::store_link::StoreLink;

pub struct Presence<'a, S> {
    pub store: S,
    pub settings: &'a Settings,
    pub registry: &'a RegistryCache,
    pub store_link: &'a StoreLink,
    pub publisher: KeyPublisher,
}

/// The machine object as this node wrote it.
struct Registration {
    object: String,
    /// Index of the last known write. A delayed earlier request fails its comparison.
    index: u64,
}

/// Why heartbeats ended.
enum HeartbeatFailure {
    /// The key is missing, or belongs to another node.
    Registration,
    Store,
}

impl<S: Store> Presence<'_, S> {
    /// Never returns.
    pub async fn run(&self) {
        loop {
            let registration = self.register().await;
            // The view must include earlier writes before clients are served.
            self.registry.wait_for_index(registration.index).await;
            // Now the view shows whether there is a key. The next heartbeat retries.
            drop(self.ensure_fence_key().await);
            self.store_link.set_serving(Some(self.settings.clock.now()));
            match self.send_heartbeats(registration).await {
                HeartbeatFailure::Store => {
                    tracing::error!("Server monitor triggered: Monitor timed out before successful heartbeat")
                }
                HeartbeatFailure::Registration => {
                    tracing::warn!("this machine's presence has ended: registering again")
                }
            }
            self.store_link.set_serving(None);
        }
    }

    fn object(&self) -> String {
        let settings = self.settings;
        let object = MachineObject {
            id: settings.machine_id.clone(),
            public_ip: (settings.public_ip)(),
            metadata: settings.metadata.clone(),
            disable_engine: settings.disable_engine,
            version: settings.version.clone(),
        };
        object.encode()
    }

    /// Retries until the machine is registered.
    async fn register(&self) -> Registration {
        tracing::info!("Establishing etcd connectivity");
        let mut backoff = Backoff::new(self.settings);
        let (mut precondition, mut warned, mut last_failure) = (Precondition::Absent, false, String::new());
        loop {
            // A machine that is visible as present must also be visible as holding its units.
            self.publisher.republish_all().await;
            let object = self.object();
            let sent = self.settings.clock.now();
            let (ttl, key) = (Some(self.settings.ttl), Key::MachineObject(self.settings.machine_id.clone()));
            match self.store.put(&key, &object, ttl, precondition.clone()).await {
                Ok(index) => {
                    precondition = Precondition::Index(index);
                    if self.put_companions().await.is_ok() {
                        self.store_link.heartbeat_succeeded(sent);
                        return Registration { object, index };
                    }
                }
                Err(StoreError::Rejected(why)) => {
                    let before = std::mem::replace(&mut precondition, Precondition::Absent);
                    if let Ok(Some(index)) = self.own_presence_index().await {
                        precondition = Precondition::Index(index);
                        if precondition != before {
                            continue;
                        }
                    } else if !std::mem::replace(&mut warned, true) {
                        tracing::warn!("waiting until the presence under this machine's id ends: {why}");
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != last_failure {
                        tracing::warn!("waiting for etcd to register this machine: {text}");
                        last_failure = text;
                    }
                }
            }
            backoff.wait().await;
        }
    }

    /// Index of the existing presence, if this or an earlier fleetd on this machine wrote it.
    async fn own_presence_index(&self) -> Result<Option<u64>, StoreError> {
        let stored = self.store.get(&Key::MachineInstance(self.settings.machine_id.clone())).await?;
        let mut instances = self.settings.previous_instances.iter().chain([&self.settings.instance]);
        if !stored.is_some_and(|stored| instances.any(|instance| *instance == stored.value)) {
            return Ok(None);
        }
        let object = self.store.get(&Key::MachineObject(self.settings.machine_id.clone())).await?;
        Ok(object.map(|object| object.index))
    }

    async fn put_companions(&self) -> Result<(), StoreError> {
        let ttl = Some(self.settings.ttl);
        for (key, value) in self.companion_keys() {
            self.store.put(&key, &value, ttl, Precondition::Always).await?;
        }
        Ok(())
    }

    /// Creates the cluster's fence key if there is none.
    async fn ensure_fence_key(&self) -> Result<(), StoreError> {
        if self.registry.with_view(|view| view.fence_key().is_some()) {
            return Ok(());
        }
        let value = self.settings.new_fence_key.encode();
        match self.store.put(&Key::FenceKey, &value, None, Precondition::Absent).await {
            Ok(_) | Err(StoreError::Rejected(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn companion_keys(&self) -> Vec<(Key, String)> {
        let machine_id = &self.settings.machine_id;
        let capacity = capacity(self.settings, self.store_link);
        let mut companion_keys =
            vec![(Key::MachineInstance(machine_id.clone()), self.settings.instance.clone())];
        if capacity != Capacity::default() {
            companion_keys.push((Key::MachineCapacity(machine_id.clone()), capacity.encode()));
        }
        companion_keys
    }

    /// Returns when a heartbeat fails.
    async fn send_heartbeats(&self, mut registration: Registration) -> HeartbeatFailure {
        let mut tried_at = Instant::now();
        loop {
            // Measured from the attempt, as the TTL is: a slow response must not delay the next heartbeat.
            sleep_until(tried_at + self.settings.heartbeat_interval()).await;
            let deadline = Instant::now() + self.settings.heartbeat_timeout();
            loop {
                tried_at = Instant::now();
                match self.send_heartbeat(&mut registration).await {
                    Ok(()) => break,
                    Err(StoreError::Unavailable(why)) if Instant::now() < deadline => {
                        tracing::warn!("a heartbeat failed: {why}");
                        sleep_until(tried_at + self.settings.retry_interval()).await;
                    }
                    Err(StoreError::Unavailable(_)) => return HeartbeatFailure::Store,
                    Err(_) => return HeartbeatFailure::Registration,
                }
            }
        }
    }

    async fn send_heartbeat(&self, registration: &mut Registration) -> Result<(), StoreError> {
        let machine_id = &self.settings.machine_id;
        if self.registry.with_view(|view| {
            view.instance(machine_id).is_some_and(|instance| instance != self.settings.instance)
        }) {
            tracing::error!(
                "Machine({machine_id}) is there twice: another fleetd has registered under this id"
            );
            return Err(StoreError::Rejected("another machine has this id".into()));
        }
        let (object, sent) = (self.object(), self.settings.clock.now());
        match self.renew(&object, registration).await {
            Err(StoreError::Rejected(why)) => {
                // A heartbeat without a response may have been executed, which changed the index.
                match self.store.get(&Key::MachineObject(machine_id.clone())).await? {
                    Some(stored)
                        if stored.index != registration.index
                            && [&object, &registration.object].contains(&&stored.value) =>
                    {
                        registration.index = stored.index;
                        self.renew(&object, registration).await?;
                    }
                    _ => return Err(StoreError::Rejected(why)),
                }
            }
            renewed => renewed?,
        }
        let ttl = self.settings.ttl;
        // Other nodes depend on this key only.
        self.store_link.heartbeat_succeeded(sent);
        for (key, value) in self.companion_keys() {
            match self.store.refresh(&key, &value, ttl, Precondition::Value(value.clone())).await {
                // The key expired after a partly executed heartbeat, or the capacity has changed.
                Err(StoreError::Rejected(_)) => {
                    // A different instance belongs to another machine.
                    let precondition = match key {
                        Key::MachineInstance(_) => Precondition::Absent,
                        _ => Precondition::Always,
                    };
                    self.store.put(&key, &value, Some(ttl), precondition).await?;
                }
                refreshed => drop(refreshed?),
            }
        }
        self.ensure_fence_key().await
    }

    async fn renew(&self, object: &str, registration: &mut Registration) -> Result<(), StoreError> {
        let (key, ttl) = (Key::MachineObject(self.settings.machine_id.clone()), self.settings.ttl);
        let precondition = Precondition::Index(registration.index);
        registration.index = if *object == registration.object {
            self.store.refresh(&key, object, ttl, precondition).await?
        } else {
            self.store.put(&key, object, Some(ttl), precondition).await?
        };
        object.clone_into(&mut registration.object);
        Ok(())
    }
}

/// Whether another machine is registered under this machine's id. Then its keys must be neither followed nor deleted.
pub fn is_foreign_presence(settings: &Settings, registry: &RegistryCache) -> bool {
    registry.with_view(|view| {
        let is_own = |instance: &str| {
            instance == settings.instance
                || settings.previous_instances.iter().any(|previous| previous == instance)
        };
        view.instance(&settings.machine_id).is_some_and(|instance| !is_own(instance))
    })
}

/// Capacity to publish: zero units while the machine leaves.
pub fn capacity(settings: &Settings, store_link: &StoreLink) -> Capacity {
    if store_link.is_leaving() { Capacity { units: Some(0), ..settings.capacity } } else { settings.capacity }
}
