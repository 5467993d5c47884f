//! `/units` and `/units/NAME`.

use fleet_api::{UnitPage, paginate};
use hyper::StatusCode;
use unit_file::UnitName;

use crate::backend::Backend;
use crate::context::ApiContext;
use crate::request::Target;
use crate::response::{ApiResult, backend_error, empty_response, json, unit_not_found};

/// A page of all units. Only the units on the page are built.
pub fn list<B: Backend>(context: &ApiContext<B>, target: &Target) -> ApiResult {
    let token = target.page(context.token_limit)?;
    let page = context.with_view(|view, scheduler| {
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

/// Extension: the named units that exist, sorted by name.
pub fn list_by_name<B: Backend>(context: &ApiContext<B>, target: &Target) -> ApiResult {
    let mut names: Vec<UnitName> =
        target.values("name").filter_map(|name| UnitName::parse(name).ok()).collect();
    names.sort_unstable();
    names.dedup();
    let units = context.with_view(|view, scheduler| {
        names.iter().filter_map(|name| fleet_core::responses::unit(view, Some(scheduler), name)).collect()
    })?;
    json(&UnitPage { units, next_page_token: String::new() })
}

pub fn get<B: Backend>(context: &ApiContext<B>, name: &str) -> ApiResult {
    // An invalid name is a unit that does not exist.
    let name = UnitName::parse(name).map_err(|_| unit_not_found())?;
    let unit =
        context.with_view(|view, scheduler| fleet_core::responses::unit(view, Some(scheduler), &name))?;
    json(&unit.ok_or_else(unit_not_found)?)
}

pub async fn destroy<B: Backend>(context: &ApiContext<B>, name: &str) -> ApiResult {
    let name = UnitName::parse(name).map_err(|_| unit_not_found())?;
    // A unit whose contents are lost is not listed, but can be destroyed.
    if context.with_view(|view, _| view.hash(&name).is_none())? {
        return Err(unit_not_found());
    }
    let destroyed = context.backend.destroy(&name).await;
    destroyed.map_err(|failure| backend_error(failure, unit_not_found))?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}
