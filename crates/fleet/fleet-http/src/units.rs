//! `/units` and `/units/NAME`.

use fleet_api::{UnitPage, paginate};
use hyper::StatusCode;
use unit_file::UnitName;

use crate::answer::{Answered, empty, failed, json, no_unit};
use crate::backend::Backend;
use crate::front::Front;
use crate::request::Target;

/// A page of all units. Only what is on it is made.
pub fn list<B: Backend>(front: &Front<B>, target: &Target) -> Answered {
    let token = target.page(front.token_limit)?;
    let page = front.look(|view, scheduler| {
        let names: Vec<&UnitName> = view.unit_names().collect();
        let (names, next) = paginate(&names, token);
        let units = names.iter().filter_map(|name| fleet_core::responses::unit(view, Some(scheduler), name));
        UnitPage {
            next_page_token: next.map(|token| token.encode()).unwrap_or_default(),
            units: units.collect(),
        }
    })?;
    json(&page)
}

/// Addition: those of the named ones that exist, by name.
pub fn named<B: Backend>(front: &Front<B>, target: &Target) -> Answered {
    let mut names: Vec<UnitName> =
        target.values("name").filter_map(|name| UnitName::parse(name).ok()).collect();
    names.sort_unstable();
    names.dedup();
    let units = front.look(|view, scheduler| {
        names.iter().filter_map(|name| fleet_core::responses::unit(view, Some(scheduler), name)).collect()
    })?;
    json(&UnitPage { units, next_page_token: String::new() })
}

pub fn get<B: Backend>(front: &Front<B>, name: &str) -> Answered {
    // What is no name is no unit's.
    let name = UnitName::parse(name).map_err(|_| no_unit())?;
    let unit = front.look(|view, scheduler| fleet_core::responses::unit(view, Some(scheduler), &name))?;
    json(&unit.ok_or_else(no_unit)?)
}

pub async fn destroy<B: Backend>(front: &Front<B>, name: &str) -> Answered {
    let name = UnitName::parse(name).map_err(|_| no_unit())?;
    // One whose text is lost is no unit, but it can be destroyed.
    if front.look(|view, _| view.hash(&name).is_none())? {
        return Err(no_unit());
    }
    let destroyed = front.backend.destroy(&name).await;
    destroyed.map_err(|failure| failed(failure, no_unit))?;
    Ok(empty(StatusCode::NO_CONTENT))
}
