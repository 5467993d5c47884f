//! The key-value store, within a network namespace.

use std::time::Duration;

use etcd_client::{Node, SetOptions};
use memory_etcd::MemoryEtcd;

use crate::namespace::Namespace;

pub const PREFIX: &str = "/coreos.com/network";

pub struct Store {
    etcd: MemoryEtcd,
    pub url: String,
}

impl Store {
    pub fn start(namespace: &Namespace, address: &str) -> Store {
        let address = format!("{address}:2379");
        let etcd = namespace.run(move || MemoryEtcd::start(&address));
        Store { url: etcd.url.clone(), etcd }
    }

    /// Closes the port. Keys remain.
    pub fn stop(&mut self) {
        self.etcd.stop();
    }

    /// Opens the port again.
    pub fn resume(&mut self) {
        self.etcd.resume();
    }

    /// The node of a key below the prefix.
    pub fn get(&self, key: &str) -> Option<Node> {
        self.etcd.node(&format!("{PREFIX}/{key}"))
    }

    pub fn set(&self, key: &str, value: &str, ttl: Option<Duration>) {
        self.etcd.set_with(&format!("{PREFIX}/{key}"), value, SetOptions { ttl, ..SetOptions::default() });
    }

    pub fn delete(&self, key: &str) {
        self.etcd.delete(&format!("{PREFIX}/{key}"));
    }
}
