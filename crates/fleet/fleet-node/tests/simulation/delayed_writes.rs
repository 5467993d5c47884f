//! Abandoned requests that are executed later.

use fleet_core::MachineId;
use fleet_core::registry::{Key, UnitState};
use fleet_node::{Precondition, Store as _};
use fleet_simulation::{TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::UnitName;

use crate::Cluster;

/// An earlier state replaces a newer one. The next refresh detects this and writes the current state.
#[test]
fn an_earlier_state_that_is_written_late_does_not_stay() {
    in_virtual_time(async {
        let cluster = Cluster::running(1, 1).await;
        let (name, machine) =
            (UnitName::parse("unit0.service").unwrap(), MachineId::new(&cluster.hosts[0].id));
        let active = || cluster.view().state(&name, &machine).map(|state| state.active.clone());
        let view = cluster.view();
        let earlier =
            UnitState { active: "activating".into(), ..view.state(&name, &machine).unwrap().clone() };
        let key = Key::State(name.clone(), machine.clone());
        cluster.hosts[0].link.put(&key, &earlier.encode(), None, Precondition::Always).await.unwrap();
        assert_eq!(active().as_deref(), Some("activating"));
        sleep(TTL).await;
        assert_eq!(active().as_deref(), Some("active"));
    });
}
