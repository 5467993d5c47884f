//! Node status, read from files and processes without the cluster's lock.

use std::net::Ipv4Addr;

use crate::cluster::{Cluster, Endpoint, NodeState, NodeStatus};
use crate::ready;
use crate::store::Layout;

#[must_use]
pub fn of(layout: &Layout, cluster: &Cluster) -> Vec<NodeStatus> {
    cluster
        .nodes
        .iter()
        .map(|node| {
            let files = layout.node(&node.name);
            let process = node.process.filter(|process| process.alive());
            let ready = process.and_then(|_| ready::last(&files.ready()));
            NodeStatus {
                name: node.name.clone(),
                state: NodeState::of(process.is_some(), ready.as_ref()),
                address: node.address,
                ssh: process.map(|_| Endpoint { host: Ipv4Addr::LOCALHOST, port: node.ssh_port }),
                version: ready.as_ref().and_then(|ready| ready.version.clone()),
                profile: ready.as_ref().and_then(|ready| ready.profile.clone()),
                slot: ready.as_ref().and_then(|ready| ready.slot.clone()),
                pid: process.map(|process| process.pid),
                failed_units: ready.map(|ready| ready.failed_units).unwrap_or_default(),
                console: files.console_log(),
            }
        })
        .collect()
}
