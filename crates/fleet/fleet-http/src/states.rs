//! `/state` and `/state/NAME`: unit states that machines report.

use fleet_api::{UnitStatePage, paginate};
use unit_file::UnitName;

use crate::backend::Backend;
use crate::context::ApiContext;
use crate::request::Target;
use crate::response::{ApiResult, api_error, json};

/// A page of the selected states. Only the states on the page are built.
pub fn list<B: Backend>(context: &ApiContext<B>, target: &Target) -> ApiResult {
    let token = target.page(context.token_limit)?;
    let (unit, machine) = (target.value("unitName"), target.value("machineID"));
    let page = context.with_view(|view, _| {
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

/// The state on the first machine that has the unit.
pub fn get<B: Backend>(context: &ApiContext<B>, name: &str) -> ApiResult {
    let none = || api_error(404, "unit state does not exist");
    let name = UnitName::parse(name).map_err(|_| none())?;
    let state = context.with_view(|view, _| {
        let mut states = fleet_core::responses::listed_states(view);
        states.find(|(unit, _)| **unit == name).map(|(_, state)| fleet_core::responses::state(&name, state))
    })?;
    json(&state.ok_or_else(none)?)
}
