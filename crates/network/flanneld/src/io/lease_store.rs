//! The network's keys in etcd.

use std::time::Duration;

use etcd_client::{
    Client, Config, Credentials, Error, GetOptions, Node, OpenError, Order, Response, SetOptions, TlsFiles,
    WatchOptions, Watcher,
};
use flannel_core::{
    ConfigError, KeyState, LEASE_TTL, Lease, LeaseAttributes, LeaseError, LeaseKey, LeaseOperation,
    LeaseRequest, LeaseWrite, NetworkConfig, StoreSettings, parse_subnet_key, subnet_key,
};
use ipnet::Ipv4Net;
use thiserror::Error;

use crate::limits::{ETCD_REQUEST, ETCD_TOTAL};

/// The configuration and the leases of one network.
#[derive(Clone)]
pub struct LeaseStore {
    client: Client,
    prefix: String,
}

#[derive(Debug, Error)]
pub enum FetchError {
    #[error("{}", .0.with_attempts())]
    Etcd(#[from] Error),
    #[error("{key}: {error}")]
    Config { key: String, error: ConfigError },
    #[error(
        "{key} is missing; create it with: etcdctl set {key} '{{\"Network\":\"10.1.0.0/16\",\"Backend\":{{\"Type\":\"vxlan\"}}}}'"
    )]
    NoConfig { key: String },
}

/// A failed request with the error of each endpoint.
#[derive(Debug, Error)]
#[error("{}", .0.with_attempts())]
pub struct RequestError(#[from] pub Error);

/// What a key has.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Absent,
    Lease(Lease),
    Invalid { modified_index: u64 },
}

impl Found {
    pub fn state(&self) -> KeyState<'_> {
        match self {
            Found::Absent => KeyState::Absent,
            Found::Lease(lease) => KeyState::Lease(lease),
            Found::Invalid { modified_index } => KeyState::Invalid { modified_index: *modified_index },
        }
    }
}

/// The leases at one index.
#[derive(Debug)]
pub struct Snapshot {
    pub leases: Vec<Lease>,
    /// Keys of subnets whose value is no lease, with the index of the last write.
    pub invalid: Vec<(Ipv4Net, u64)>,
    pub index: u64,
}

impl Snapshot {
    /// What the key of a subnet has.
    pub fn found(&self, subnet: Ipv4Net) -> Found {
        if let Some(lease) = self.leases.iter().find(|lease| lease.subnet == subnet) {
            return Found::Lease(lease.clone());
        }
        match self.invalid.iter().find(|(one, _)| *one == subnet) {
            Some((_, modified_index)) => Found::Invalid { modified_index: *modified_index },
            None => Found::Absent,
        }
    }
}

/// The result of a write with a condition.
#[derive(Debug)]
pub enum Written {
    Lease(Lease),
    /// The condition does not hold.
    Refused,
}

impl LeaseStore {
    /// Does not connect yet.
    pub fn open(settings: &StoreSettings) -> Result<LeaseStore, OpenError> {
        let mut config = Config::of_urls(&settings.endpoints)?;
        config.order = Order::Configured;
        config.request_timeout = ETCD_REQUEST;
        config.total_timeout = ETCD_TOTAL;
        let (certificate, key) = settings.pair.clone().unzip();
        config.tls = TlsFiles { ca: settings.ca.clone(), certificate, key };
        config.credentials = settings
            .user
            .as_ref()
            .map(|(user, password)| Credentials { user: user.clone(), password: password.clone() });
        Ok(LeaseStore { client: Client::new(config)?, prefix: settings.prefix.clone() })
    }

    /// The key of the configuration.
    pub fn config_key(&self) -> String {
        format!("{}/config", self.prefix)
    }

    fn directory(&self) -> String {
        format!("{}/subnets", self.prefix)
    }

    fn key(&self, subnet: Ipv4Net) -> String {
        format!("{}/{}", self.directory(), subnet_key(subnet))
    }

    /// Reads and parses the configuration.
    pub async fn config(&self) -> Result<NetworkConfig, FetchError> {
        let key = self.config_key();
        let response = match self.client.get(&key, quorum(false)).await {
            Ok(response) => response,
            Err(error) if error.is_key_not_found() => return Err(FetchError::NoConfig { key }),
            Err(error) => return Err(error.into()),
        };
        let text = response.node().value.unwrap_or_default();
        NetworkConfig::parse(&text).map_err(|error| FetchError::Config { key, error })
    }

    /// Reads every lease. Keys that are no leases are skipped with a warning.
    pub async fn leases(&self) -> Result<Snapshot, RequestError> {
        let response = match self.client.get(&self.directory(), quorum(true)).await {
            Ok(response) => response,
            Err(Error::Api { code: 100, index, .. }) => {
                return Ok(Snapshot { leases: Vec::new(), invalid: Vec::new(), index });
            }
            Err(error) => return Err(error.into()),
        };
        let mut snapshot = Snapshot { leases: Vec::new(), invalid: Vec::new(), index: response.index };
        for node in &response.node().nodes {
            match parse(node) {
                Ok(lease) => snapshot.leases.push(lease),
                Err(error) => {
                    tracing::warn!("ignoring {}: {error}", node.key);
                    snapshot.invalid.extend(subnet_of(&node.key).map(|subnet| (subnet, node.modified_index)));
                }
            }
        }
        Ok(snapshot)
    }

    /// Reads the key of one subnet, and the store's index.
    pub async fn read(&self, subnet: Ipv4Net) -> Result<(Found, u64), RequestError> {
        match self.client.get(&self.key(subnet), quorum(false)).await {
            Ok(response) => Ok((found(&response.node()), response.index)),
            Err(Error::Api { code: 100, index, .. }) => Ok((Found::Absent, index)),
            Err(error) => Err(error.into()),
        }
    }

    /// Executes a write of an acquisition. A deleted key gives no lease.
    pub async fn execute(
        &self,
        write: &LeaseWrite,
        attributes: &LeaseAttributes,
    ) -> Result<Option<Written>, RequestError> {
        match write.operation {
            LeaseOperation::Create => self.create(write.subnet, attributes).await.map(Some),
            LeaseOperation::Update { modified_index, ttl } => {
                self.replace(write.subnet, attributes, modified_index, ttl).await.map(Some)
            }
            LeaseOperation::Delete { modified_index } => {
                match self.client.compare_and_delete(&self.key(write.subnet), modified_index).await {
                    Ok(_) => Ok(None),
                    Err(error) if is_refusal(&error) => Ok(Some(Written::Refused)),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Executes a write of a lease that is held or lost.
    pub async fn request(
        &self,
        request: LeaseRequest,
        subnet: Ipv4Net,
        attributes: &LeaseAttributes,
    ) -> Result<Written, RequestError> {
        match request {
            LeaseRequest::Create => self.create(subnet, attributes).await,
            LeaseRequest::Write { modified_index, expires } => {
                self.replace(subnet, attributes, modified_index, expires.then_some(LEASE_TTL)).await
            }
            LeaseRequest::Read => Ok(Written::Refused),
        }
    }

    async fn create(&self, subnet: Ipv4Net, attributes: &LeaseAttributes) -> Result<Written, RequestError> {
        let value = attributes.to_json();
        written(subnet, attributes, self.client.create(&self.key(subnet), &value, Some(LEASE_TTL)).await)
    }

    async fn replace(
        &self,
        subnet: Ipv4Net,
        attributes: &LeaseAttributes,
        modified_index: u64,
        ttl: Option<Duration>,
    ) -> Result<Written, RequestError> {
        let options = SetOptions { prev_index: Some(modified_index), ttl, ..SetOptions::default() };
        written(subnet, attributes, self.client.set(&self.key(subnet), attributes.to_json(), &options).await)
    }

    /// A watch of all leases after `index`.
    pub fn watch(&self, index: u64) -> Watcher {
        let options = WatchOptions { recursive: true, after: Some(index), ..WatchOptions::default() };
        self.client.watch(&self.directory(), options)
    }
}

fn quorum(recursive: bool) -> GetOptions {
    GetOptions { quorum: true, recursive, ..GetOptions::default() }
}

fn written(
    subnet: Ipv4Net,
    attributes: &LeaseAttributes,
    response: Result<Response, Error>,
) -> Result<Written, RequestError> {
    match response {
        Ok(response) => {
            let node = response.node();
            let lease = Lease {
                subnet,
                attributes: attributes.clone(),
                ttl: ttl(&node),
                modified_index: node.modified_index,
            };
            Ok(Written::Lease(lease))
        }
        Err(error) if is_refusal(&error) => Ok(Written::Refused),
        Err(error) => Err(error.into()),
    }
}

/// Whether the store refused a condition: the key changed, exists, or does not exist.
fn is_refusal(error: &Error) -> bool {
    error.is_compare_failed() || error.is_key_exists() || error.is_key_not_found()
}

fn ttl(node: &Node) -> Option<Duration> {
    node.expiration.as_ref().map(|_| Duration::from_secs(u64::try_from(node.ttl).unwrap_or_default()))
}

fn parse(node: &Node) -> Result<Lease, LeaseError> {
    Lease::parse(LeaseKey {
        key: &node.key,
        value: node.value.as_deref().unwrap_or_default(),
        ttl: ttl(node),
        modified_index: node.modified_index,
    })
}

/// What a node of a read or an event has.
pub fn found(node: &Node) -> Found {
    match parse(node) {
        Ok(lease) => Found::Lease(lease),
        Err(_) => Found::Invalid { modified_index: node.modified_index },
    }
}

/// The subnet of a key; none if it is not one of a lease.
pub fn subnet_of(key: &str) -> Option<Ipv4Net> {
    parse_subnet_key(key.rsplit('/').next().unwrap_or_default())
}
