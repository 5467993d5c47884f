//! Plans, computed by the scheduler itself.

use crate::schedule::explain::Explanation;
use crate::schedule::scheduler::Scheduler;
use crate::schedule::task::Task;
use crate::unit::Unit;

/// Maximum number of passes.
const PASSES: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of all passes, in order.
    pub tasks: Vec<Task>,
    /// Units of the plan that cannot be scheduled.
    pub unplaced: Vec<Explanation>,
}

impl Scheduler {
    /// The tasks if these units were set, every task succeeded, and machines stopped units as required.
    pub fn plan(&self, units: Vec<Unit>) -> Plan {
        let mut copy = self.clone();
        let names: Vec<_> = units.iter().map(|unit| unit.name.clone()).collect();
        for mut unit in units {
            // A changed unit keeps its target and pin.
            if let Some(known) = self.units.get(&unit.name) {
                (unit.target, unit.pin) = (known.unit.target.clone(), known.unit.pin.clone());
            }
            copy.set_unit(unit);
        }
        let mut tasks = Vec::new();
        for _ in 0..PASSES {
            let tasks_of_pass = copy.pass();
            if tasks_of_pass.is_empty() {
                break;
            }
            for task in &tasks_of_pass {
                if let Task::Unschedule { unit, machine, .. } = task {
                    copy.set_held(unit, machine, false);
                    if let Some(state) = copy.units.get(unit) {
                        copy.set_unit(state.unit.clone());
                    }
                }
            }
            tasks.extend(tasks_of_pass);
        }
        let unplaced = names.iter().filter(|name| copy.waiting.contains(*name));
        Plan { tasks, unplaced: unplaced.filter_map(|name| copy.explain(name.as_str())).collect() }
    }
}
