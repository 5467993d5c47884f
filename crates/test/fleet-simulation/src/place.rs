//! A machine with what is on it.

use std::time::Duration;

use fleet_node::Node;
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::machine::Machine;
use crate::store::Link;

pub struct Place<L> {
    pub id: String,
    pub machine: Machine,
    pub link: L,
    pub node: Option<Node<L, Machine>>,
    /// Runs while no node does.
    pub fence: JoinSet<()>,
    /// Numbers of the fleetds so far.
    pub starts: Vec<String>,
}

impl<L: Link> Place<L> {
    pub fn new(number: usize, ledger: Ledger, link: L, ttl: Duration, chance: fastrand::Rng) -> Self {
        Self {
            id: format!("{number:02}aabbccddeeff00112233445566{number:04}"),
            machine: Machine::new(number, ledger, ttl * 2, chance),
            link,
            node: None,
            fence: JoinSet::new(),
            starts: Vec::new(),
        }
    }
}
