//! Extensions of the original's API, below their own prefix.

use fleet_api::ErrorDocument;
use fleet_api::additions::{PlanRequest, RebalanceRequest};
use fleet_core::responses::PlanError;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use unit_file::UnitName;

use crate::backend::Backend;
use crate::body::{self, Body, run_blocking};
use crate::context::ApiContext;
use crate::journal::Cancellation;
use crate::request::{Target, require_json};
use crate::response::{ApiResult, api_error, backend_error, json, path_not_found, unit_not_found};
use crate::routes::{self, ADDITIONS, Addition};
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
    match routes::find(&ADDITIONS, segments, &head.method)? {
        Addition::Units => units::list_by_name(context, target),
        Addition::Explanation => explanation(context, segments[1]),
        Addition::Status => status::get(context, segments[1], target).await,
        Addition::Journal => journal::get(context, segments[1], target, cancellation),
        Addition::Plan => plan(context, json_body(context, head, body).await?.decode_json().await?).await,
        Addition::Rebalance => {
            rebalance(context, json_body(context, head, body).await?.decode_json().await?).await
        }
        Addition::Cordon => {
            machines::set_cordon(context, segments[1], json_body(context, head, body).await?).await
        }
    }
}

async fn json_body<B: Backend>(
    context: &ApiContext<B>,
    head: &Parts,
    body: &mut Incoming,
) -> Result<Body, ErrorDocument> {
    require_json(&head.headers)?;
    body::read(body, &context.body_budget).await
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
    json(&plan.map_err(|error| api_error(plan_error_code(&error), error.to_string()))?)
}

/// As for `PUT` of a unit.
fn plan_error_code(error: &PlanError) -> u16 {
    match error {
        PlanError::Name(_) | PlanError::State(_) => 400,
        PlanError::NoOptions | PlanError::NoDesiredState => 409,
    }
}

async fn rebalance<B: Backend>(context: &ApiContext<B>, request: RebalanceRequest) -> ApiResult {
    if request.dry_run {
        let scheduler = context.with_view(|_, scheduler| scheduler.clone())?;
        return json(&run_blocking(move || fleet_core::responses::rebalance(&scheduler)).await?);
    }
    let plan = context.backend.rebalance().await;
    json(&plan.map_err(|failure| backend_error(failure, path_not_found))?)
}
