//! The keys of a network in etcd's state machine.

use std::time::Duration;

use etcd_api::{Key, Node, Timestamp};
use etcd_store::{Command, Delete, Put, Store};
use flannel_core::{
    KeyState, LEASE_TTL, Lease, LeaseAttributes, LeaseKey, LeaseOperation, LeaseRequest, LeaseWrite,
    subnet_key,
};
use ipnet::Ipv4Net;

const DIRECTORY: &str = "/coreos.com/network/subnets";

/// The store and its time.
pub struct Network {
    store: Store,
    start: Timestamp,
    now: Timestamp,
    /// Requests that change or may change a key.
    pub writes: usize,
}

/// What a key has: a lease, or the index of a value that is none.
#[derive(Clone)]
pub enum Found {
    Absent,
    Lease(Lease),
    Invalid(u64),
}

impl Found {
    pub fn state(&self) -> KeyState<'_> {
        match self {
            Found::Absent => KeyState::Absent,
            Found::Lease(lease) => KeyState::Lease(lease),
            Found::Invalid(modified_index) => KeyState::Invalid { modified_index: *modified_index },
        }
    }

    pub fn lease(self) -> Option<Lease> {
        match self {
            Found::Lease(lease) => Some(lease),
            _ => None,
        }
    }
}

/// What a watch of the leases reports.
pub enum Report {
    Event { index: u64, subnet: Option<Ipv4Net>, found: Found },
    Nothing,
    Cleared,
}

impl Network {
    pub fn new() -> Network {
        let start = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
        Network { store: Store::new(), start, now: start, writes: 0 }
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now.unix_nanos() - self.start.unix_nanos())
    }

    pub fn advance(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.store.apply(&Command::Sync { now: self.now });
    }

    /// Every lease, and the index. Keys that are no leases are ignored.
    pub fn leases(&self) -> (Vec<Lease>, u64) {
        let nodes = match self.store.get(&Key::parse(DIRECTORY).unwrap(), true) {
            Ok(event) => event.node.nodes,
            Err(_) => Vec::new(),
        };
        (nodes.iter().filter_map(|node| self.found(node).lease()).collect(), self.store.index())
    }

    /// One lease, and the index.
    pub fn read(&self, subnet: Ipv4Net) -> (Found, u64) {
        let found =
            self.store.get(&key(subnet), false).map_or(Found::Absent, |event| self.found(&event.node));
        (found, self.store.index())
    }

    /// The first change after `index`.
    pub fn watch(&self, index: u64) -> Report {
        match self.store.scan_history(&Key::parse(DIRECTORY).unwrap(), true, index + 1) {
            Ok(Some(event)) => {
                let name = String::from_utf8_lossy(event.node.key.name()).into_owned();
                let subnet = flannel_core::parse_subnet_key(&name);
                Report::Event { index: event.node.modified_index, subnet, found: self.found(&event.node) }
            }
            Ok(None) => Report::Nothing,
            Err(_) => Report::Cleared,
        }
    }

    /// Executes a write of an acquisition; false if its condition does not hold.
    pub fn execute(&mut self, write: &LeaseWrite, attributes: &LeaseAttributes) -> Option<Lease> {
        let put = |prev_exist, prev_index, ttl| (prev_exist, prev_index, ttl);
        let (prev_exist, prev_index, ttl) = match write.operation {
            LeaseOperation::Create => put(Some(false), None, Some(LEASE_TTL)),
            LeaseOperation::Update { modified_index, ttl } => put(None, Some(modified_index), ttl),
            LeaseOperation::Delete { modified_index } => {
                return self.delete(write.subnet, Some(modified_index)).then(|| Lease {
                    subnet: write.subnet,
                    attributes: attributes.clone(),
                    ttl: None,
                    modified_index: 0,
                });
            }
        };
        self.put(write.subnet, &attributes.to_json(), prev_exist, prev_index, ttl)
    }

    /// Executes a request of a lease that is held or lost; false if its condition does not hold.
    pub fn request(
        &mut self,
        request: LeaseRequest,
        subnet: Ipv4Net,
        attributes: &LeaseAttributes,
    ) -> Option<Lease> {
        match request {
            LeaseRequest::Write { modified_index, expires } => {
                let ttl = expires.then_some(LEASE_TTL);
                self.put(subnet, &attributes.to_json(), None, Some(modified_index), ttl)
            }
            LeaseRequest::Create => {
                self.put(subnet, &attributes.to_json(), Some(false), None, Some(LEASE_TTL))
            }
            LeaseRequest::Read => None,
        }
    }

    pub fn put(
        &mut self,
        subnet: Ipv4Net,
        value: &str,
        prev_exist: Option<bool>,
        prev_index: Option<u64>,
        ttl: Option<Duration>,
    ) -> Option<Lease> {
        self.write(key(subnet), value, prev_exist, prev_index, ttl).then(|| self.read(subnet).0.lease())?
    }

    /// A key that is no lease.
    pub fn put_junk(&mut self, name: &str, value: &str) {
        self.write(Key::parse(format!("{DIRECTORY}/{name}")).unwrap(), value, None, None, None);
    }

    fn write(
        &mut self,
        key: Key,
        value: &str,
        prev_exist: Option<bool>,
        prev_index: Option<u64>,
        ttl: Option<Duration>,
    ) -> bool {
        self.writes += 1;
        let expiration = ttl.map(|ttl| self.now.plus(ttl));
        let value = value.as_bytes().to_vec().into();
        let put = Put {
            key,
            value,
            dir: false,
            expiration,
            prev_exist,
            prev_value: None,
            prev_index,
            refresh: false,
        };
        self.store.apply(&Command::Put(put)).result.is_ok()
    }

    pub fn delete(&mut self, subnet: Ipv4Net, prev_index: Option<u64>) -> bool {
        self.writes += 1;
        let delete = Delete { key: key(subnet), dir: false, recursive: false, prev_value: None, prev_index };
        self.store.apply(&Command::Delete(delete)).result.is_ok()
    }

    fn found(&self, node: &Node) -> Found {
        let ttl =
            node.expiration.map(|at| Duration::from_secs(at.seconds_left(self.now).max(0).cast_unsigned()));
        let key = String::from_utf8_lossy(node.key.as_bytes()).into_owned();
        let Some(value) = &node.value else { return Found::Absent };
        let value = String::from_utf8_lossy(value).into_owned();
        let modified_index = node.modified_index;
        match Lease::parse(LeaseKey { key: &key, value: &value, ttl, modified_index }) {
            Ok(lease) => Found::Lease(lease),
            Err(_) => Found::Invalid(modified_index),
        }
    }
}

fn key(subnet: Ipv4Net) -> Key {
    Key::parse(format!("{DIRECTORY}/{}", subnet_key(subnet))).unwrap()
}
