//! Checks of a history's final state.

use std::collections::BTreeSet;

use fleet_core::registry::View;
use fleet_core::schedule::Placement;
use fleet_core::{JobState, MachineId};
use tokio::time::sleep;
use unit_file::UnitName;

use crate::cluster::Cluster;
use crate::store::Service;

impl<S: Service> Cluster<S> {
    /// After all faults are healed, exactly the desired units must run, once each.
    pub async fn check_convergence(&mut self) {
        self.log("all is whole again");
        sleep(self.ttl * 5).await;
        let view = self.view();
        let running = self.ledger.running();
        for (name, (_, desired)) in self.submitted.clone() {
            let name = UnitName::parse(&name).unwrap();
            let on = running.get(&name).cloned().unwrap_or_default();
            let Some(unit) = view.unit(&name) else {
                self.faults.push(format!("{name} is lost"));
                continue;
            };
            let expected = match (desired, unit.requirements.global) {
                (JobState::Launched, true) => self.hosts.len(),
                (JobState::Launched, false) if Self::is_schedulable(&view, &name) => 1,
                _ => 0,
            };
            if on.len() != expected {
                self.faults.push(format!(
                    "in the end {name} ({desired}, target {:?}) runs on {on:?}, not on {expected}",
                    unit.target
                ));
            }
            self.check_published_states(&view, &name, &on);
        }
    }

    /// Conflicting units may have to wait, according to a new scheduler.
    fn is_schedulable(view: &View, name: &UnitName) -> bool {
        let explained = fleet_core::responses::scheduler(view).explain(name.as_str());
        explained.is_none_or(|explained| explained.placement != Placement::Nowhere)
    }

    /// Published states must match reality.
    fn check_published_states(&mut self, view: &View, name: &UnitName, on: &BTreeSet<usize>) {
        let published: BTreeSet<usize> = (0..self.hosts.len())
            .filter(|number| {
                let id = MachineId::new(&self.hosts[*number].id);
                view.state(name, &id).is_some_and(|state| state.active == "active")
            })
            .collect();
        if published != *on {
            self.faults.push(format!("{name} is told to be active on {published:?}, and is on {on:?}"));
        }
    }

    pub fn view(&self) -> View {
        let pairs = self.service.all_keys();
        View::read(pairs.iter().map(|(path, value)| (path.as_str(), value.as_str()))).0
    }

    pub fn faults(&self) -> Vec<String> {
        [self.faults.clone(), self.ledger.faults()].concat()
    }
}
