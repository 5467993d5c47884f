//! A machine with its systemd, its node and its link to the store.

use std::time::Duration;

use fleet_node::Node;
use tokio::task::JoinSet;

use crate::fake_systemd::FakeSystemd;
use crate::ledger::Ledger;
use crate::store::Link;

pub struct Host<L> {
    pub id: String,
    pub systemd: FakeSystemd,
    pub link: L,
    pub node: Option<Node<L, FakeSystemd>>,
    /// Runs while no node does.
    pub fence: JoinSet<()>,
    /// Instance ids of all fleetds so far.
    pub instances: Vec<String>,
}

impl<L: Link> Host<L> {
    pub fn new(number: usize, ledger: Ledger, link: L, ttl: Duration, rng: fastrand::Rng) -> Self {
        Self {
            id: format!("{number:02}aabbccddeeff00112233445566{number:04}"),
            systemd: FakeSystemd::new(number, ledger, ttl * 2, rng),
            link,
            node: None,
            fence: JoinSet::new(),
            instances: Vec::new(),
        }
    }
}
