//! A machine with what is on it.

use fleet_node::Node;
use tokio::task::JoinSet;

use crate::ledger::Ledger;
use crate::machine::Machine;
use crate::store::Link;

pub struct Place {
    pub id: String,
    pub machine: Machine,
    pub link: Link,
    pub node: Option<Node<Link, Machine>>,
    /// Runs while no node does.
    pub fence: JoinSet<()>,
    /// Numbers of the fleetds so far.
    pub starts: Vec<String>,
}

impl Place {
    pub fn new(number: usize, ledger: Ledger, link: Link, chance: fastrand::Rng) -> Self {
        Self {
            id: format!("{number:02}aabbccddeeff00112233445566{number:04}"),
            machine: Machine::new(number, ledger, chance),
            link,
            node: None,
            fence: JoinSet::new(),
            starts: Vec::new(),
        }
    }
}
