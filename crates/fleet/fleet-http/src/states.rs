//! `/state` and `/state/NAME`: what machines say of units.

use fleet_api::{UnitStatePage, paginate};
use unit_file::UnitName;

use crate::answer::{Answered, json, refuse};
use crate::backend::Backend;
use crate::front::Front;
use crate::request::Target;

/// A page of those that are asked for. Only what is on it is made.
pub fn list<B: Backend>(front: &Front<B>, target: &Target) -> Answered {
    let token = target.page(front.token_limit)?;
    let (unit, machine) = (target.value("unitName"), target.value("machineID"));
    let page = front.look(|view, _| {
        let wanted: Vec<_> = fleet_core::responses::listed_states(view)
            .filter(|(name, _)| unit.is_none_or(|unit| name.as_str() == unit))
            .filter(|(_, state)| machine.is_none_or(|machine| state.machine.as_str() == machine))
            .collect();
        let (wanted, next) = paginate(&wanted, token);
        UnitStatePage {
            next_page_token: next.map(|token| token.encode()).unwrap_or_default(),
            states: wanted.iter().map(|(name, state)| fleet_core::responses::state(name, state)).collect(),
        }
    })?;
    json(&page)
}

/// Of the first machine that has the unit.
pub fn get<B: Backend>(front: &Front<B>, name: &str) -> Answered {
    let none = || refuse(404, "unit state does not exist");
    let name = UnitName::parse(name).map_err(|_| none())?;
    let state = front.look(|view, _| {
        let mut states = fleet_core::responses::listed_states(view);
        states.find(|(unit, _)| **unit == name).map(|(_, state)| fleet_core::responses::state(&name, state))
    })?;
    json(&state.ok_or_else(none)?)
}
