//! The API's units and states.

use crate::registry::View;
use crate::schedule::Scheduler;
use fleet_api::{Unit, UnitOption, UnitState};
use unit_file::UnitName;

/// All units by name. With a scheduler, units without a machine have a message.
pub fn units(view: &View, scheduler: Option<&Scheduler>) -> Vec<Unit> {
    view.units().filter_map(|known| unit(view, scheduler, &known.name)).collect()
}

pub fn unit(view: &View, scheduler: Option<&Scheduler>, name: &UnitName) -> Option<Unit> {
    let known = view.unit(name)?;
    let file = view.file(name)?;
    let message = scheduler.and_then(|scheduler| scheduler.message(name.as_str()));
    Some(Unit {
        current_state: view.current_state(name).map(|state| state.to_string()).unwrap_or_default(),
        desired_state: known.desired.to_string(),
        // A target from before the unit became global is ignored.
        machine_id: match known.requirements.global {
            true => String::new(),
            false => known.target.map(|machine| machine.to_string()).unwrap_or_default(),
        },
        name: name.to_string(),
        options: UnitOption::from_file(file),
        scheduling_message: message.unwrap_or_default(),
    })
}

/// The states that lists contain.
pub fn states(view: &View) -> Vec<UnitState> {
    listed_states(view).map(|(name, known)| state(name, known)).collect()
}

/// The states that lists contain, by unit, then machine. Without machines that are not present, since states outlive
/// the presence, and without refusals of a unit that another machine has.
pub fn listed_states(view: &View) -> impl Iterator<Item = (&UnitName, &crate::registry::UnitState)> {
    let present = view.states().filter(|(_, known)| view.machine_object(&known.machine).is_some());
    present.filter(|(name, known)| {
        let is_target = || view.unit(name).is_some_and(|unit| unit.target.as_ref() == Some(&known.machine));
        known.is_loaded() || is_target() || !view.is_loaded_elsewhere(name, &known.machine)
    })
}

/// The state of one unit on one machine.
pub fn state(name: &UnitName, known: &crate::registry::UnitState) -> UnitState {
    UnitState {
        hash: known.hash.to_string(),
        machine_id: known.machine.to_string(),
        name: name.to_string(),
        refusal: known.refusal.clone(),
        systemd_active_state: known.active.clone(),
        systemd_load_state: known.load.clone(),
        systemd_sub_state: known.sub.clone(),
    }
}
