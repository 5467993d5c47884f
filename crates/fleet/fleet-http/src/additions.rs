//! Extensions of the original's API, below their own prefix.

use fleet_api::additions::{PlanRequest, RebalanceRequest};
use hyper::Method;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use unit_file::UnitName;

use crate::backend::Backend;
use crate::body::{self, run_blocking};
use crate::context::ApiContext;
use crate::journal::Cancellation;
use crate::request::{Target, require_json};
use crate::response::{
    ApiResult, api_error, backend_error, json, method_not_allowed, path_not_found, unit_not_found,
};
use crate::{journal, machines, status, units};

/// `segments` are the path segments after the prefix.
pub async fn handle<B: Backend>(
    context: &ApiContext<B>,
    segments: &[&str],
    target: &Target,
    head: &Parts,
    body: &mut Incoming,
    cancellation: Cancellation,
) -> ApiResult {
    let method = match segments {
        ["units"] | ["units", _, "explanation" | "status" | "journal"] => Method::GET,
        ["plan"] | ["rebalance"] => Method::POST,
        ["machines", _, "cordon"] => Method::PUT,
        _ => return Err(path_not_found()),
    };
    if head.method != method {
        return Err(method_not_allowed(&format!("only {method} supported against this resource")));
    }
    match segments {
        ["units"] => units::list_by_name(context, target),
        ["units", name, "explanation"] => explanation(context, name),
        ["units", name, "status"] => status::get(context, name, target).await,
        ["units", name, _] => journal::get(context, name, target, cancellation),
        segments => {
            require_json(&head.headers)?;
            let body = body::read(body, &context.body_budget).await?;
            match segments {
                ["machines", id, _] => machines::set_cordon(context, id, body).await,
                ["plan"] => plan(context, body.decode_json().await?).await,
                _ => rebalance(context, body.decode_json().await?).await,
            }
        }
    }
}

fn explanation<B: Backend>(context: &ApiContext<B>, name: &str) -> ApiResult {
    let name = UnitName::parse(name).map_err(|_| unit_not_found())?;
    let explanation = context.with_view(|view, scheduler| {
        view.unit(&name)?;
        fleet_core::responses::explanation(view, scheduler, &name)
    })?;
    json(&explanation.ok_or_else(unit_not_found)?)
}

/// Plans on copies: scheduling may be slow, and the backend holds a lock during a read.
async fn plan<B: Backend>(context: &ApiContext<B>, request: PlanRequest) -> ApiResult {
    let (view, scheduler) = context.with_view(|view, scheduler| (view.clone(), scheduler.clone()))?;
    let plan = run_blocking(move || fleet_core::responses::plan(&view, &scheduler, &request.units)).await?;
    json(&plan.map_err(|error| api_error(400, error.to_string()))?)
}

async fn rebalance<B: Backend>(context: &ApiContext<B>, request: RebalanceRequest) -> ApiResult {
    if request.dry_run {
        let scheduler = context.with_view(|_, scheduler| scheduler.clone())?;
        return json(&run_blocking(move || fleet_core::responses::rebalance(&scheduler)).await?);
    }
    let plan = context.backend.rebalance().await;
    json(&plan.map_err(|failure| backend_error(failure, path_not_found))?)
}
