//! Etcd members behind their HTTP front ends as the simulation's store, accessed with fleetd's client.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Config, Dial, Order};
use fleet_core::registry::Key;
use fleet_node::{EtcdStore, Precondition, Snapshot, Store, StoreError, StoredValue};
use fleet_simulation::{Link, Service};
use unit_file::UnitName;

use crate::members::{MEMBERS, Members};
use crate::network::{Host, Network, Port};

/// fleetd's default `etcd_request_timeout`.
const TIMEOUT: Duration = Duration::from_secs(1);
const PREFIX: &str = "/_coreos.com/fleet/";
/// First host number of machines.
const FIRST_MACHINE: Host = 100;

#[derive(Clone)]
pub struct EtcdCluster {
    network: Network,
    pub members: Members,
}

impl EtcdCluster {
    pub fn new(mut chance: fastrand::Rng) -> Self {
        let network = Network::new(chance.fork());
        let members = Members::start(network.clone(), chance);
        Self { network, members }
    }

    /// A client on `host` with these members in order and fleetd's settings.
    pub fn client_at(&self, host: Host, members: &[Host]) -> Client {
        let endpoints = members.iter().map(|member| format!("http://member-{member}:2379").parse().unwrap());
        let mut config = Config::new(endpoints.collect());
        config.order = Order::Configured;
        config.request_timeout = TIMEOUT;
        config.retry_after_timeout = false;
        let network = self.network.clone();
        config.dial = Some(Dial(Arc::new(move |name, _| {
            let (network, member) = (network.clone(), name.rsplit('-').next().unwrap().parse().unwrap());
            Box::pin(async move { network.connect(host, member, Port::Clients).await })
        })));
        Client::new(config).unwrap()
    }
}

impl Service for EtcdCluster {
    type Link = EtcdLink;
    const FAULT_WEIGHT: u32 = 6;

    fn link(&self, machine: usize) -> EtcdLink {
        let host = FIRST_MACHINE + machine;
        // The machine's own member comes first.
        let members: Vec<Host> = (0..MEMBERS).map(|number| (machine + number) % MEMBERS).collect();
        let store = EtcdStore::new(self.client_at(host, &members), PREFIX, TIMEOUT);
        EtcdLink { store, host, network: self.network.clone() }
    }

    fn set_down(&self, down: bool) {
        self.network.set_clients_cut(down);
    }

    fn inject_fault(&self, chance: &mut fastrand::Rng) -> String {
        self.members.fault(chance)
    }

    fn heal(&self) {
        self.members.heal();
    }

    fn all_keys(&self) -> Vec<(String, String)> {
        self.members.keys_below(PREFIX)
    }
}

/// A machine's link to the members.
#[derive(Clone)]
pub struct EtcdLink {
    store: EtcdStore,
    host: Host,
    network: Network,
}

impl EtcdLink {
    async fn logged<T>(
        &self,
        what: &str,
        of: impl Display,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let outcome = asked.await;
        let machine = self.host - FIRST_MACHINE;
        match &outcome {
            Ok(_) => tracing::debug!(machine, "{what} {of}"),
            Err(error) => tracing::info!(machine, "{what} {of}: {error}"),
        }
        outcome
    }
}

impl Link for EtcdLink {
    fn with_timeout(&self, timeout: Duration) -> Self {
        Self { store: self.store.with_timeout(timeout.max(TIMEOUT)), ..self.clone() }
    }

    fn set_cut(&self, cut: bool) {
        (0..MEMBERS).for_each(|member| self.network.set_cut(self.host, member, cut));
    }

    fn set_slow(&self, each_way: Option<Range<u64>>) {
        self.network.set_slow(self.host, each_way);
    }

    fn stall_watches(&self) {
        self.network.lose_connections(self.host);
    }
}

impl Store for EtcdLink {
    type Watch = <EtcdStore as Store>::Watch;

    async fn read(&self) -> Result<Snapshot, StoreError> {
        self.logged("read", "everything", self.store.read()).await
    }

    fn watch(&self, after: u64) -> Self::Watch {
        self.store.watch(after)
    }

    async fn get(&self, key: &Key) -> Result<Option<StoredValue>, StoreError> {
        self.logged("get", key.path(), self.store.get(key)).await
    }

    async fn put(
        &self,
        key: &Key,
        value: &str,
        ttl: Option<Duration>,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        self.logged("put", key.path(), self.store.put(key, value, ttl, precondition)).await
    }

    async fn refresh(
        &self,
        key: &Key,
        value: &str,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<u64, StoreError> {
        self.logged("refresh", key.path(), self.store.refresh(key, value, ttl, precondition)).await
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> Result<u64, StoreError> {
        self.logged("delete", key.path(), self.store.delete(key, precondition)).await
    }

    async fn delete_job(&self, name: &UnitName) -> Result<u64, StoreError> {
        self.logged("delete_job", name, self.store.delete_job(name)).await
    }
}
