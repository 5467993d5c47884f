//! What would happen, from the scheduler that makes it happen.

use crate::schedule::explain::Explanation;
use crate::schedule::scheduler::Scheduler;
use crate::schedule::task::Task;
use crate::unit::Unit;

/// Passes after which a plan is told as far as it got.
const PASSES: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of all passes, one after the other.
    pub tasks: Vec<Task>,
    /// Units of the plan that would be nowhere.
    pub unplaced: Vec<Explanation>,
}

impl Scheduler {
    /// What would be done if these units were set, every step succeeded, and machines stopped what they should.
    pub fn plan(&self, units: Vec<Unit>) -> Plan {
        let mut copy = self.clone();
        let names: Vec<_> = units.iter().map(|unit| unit.name.clone()).collect();
        for mut unit in units {
            // What it has, a new text does not take away.
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
