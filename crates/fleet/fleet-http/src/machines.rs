//! `/machines`: present machines, their metadata, and cordons.

use fleet_api::additions::CordonRequest;
use fleet_api::{ErrorDocument, MachinePage, MachinePatch, PatchError, paginate, parse_patches};
use fleet_core::MachineId;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

use crate::backend::Backend;
use crate::body::Body;
use crate::context::ApiContext;
use crate::limits::MAX_PATCHES;
use crate::request::Target;
use crate::response::{ApiResult, JSON, api_error, backend_error, empty_response, json};

fn machine_not_found() -> ErrorDocument {
    api_error(404, "machine does not exist")
}

pub fn list<B: Backend>(context: &ApiContext<B>, target: &Target) -> ApiResult {
    let token = target.page(context.token_limit)?;
    let all = context.with_view(|view, _| fleet_core::responses::machines(view))?;
    let (machines, next) = paginate(&all, token);
    json(&MachinePage {
        machines: machines.to_vec(),
        next_page_token: next.map(|token| token.encode()).unwrap_or_default(),
    })
}

/// Validates all operations before the first is applied. The machines need not exist.
pub async fn patch<B: Backend>(context: &ApiContext<B>, body: Body) -> ApiResult {
    let parse_patches: Result<Vec<MachinePatch>, PatchError> = body.parse_with(parse_patches).await?;
    let changes = parse_patches.map_err(|error| api_error(400, error.to_string()))?;
    if changes.len() > MAX_PATCHES {
        return Err(api_error(400, format!("too many operations (max {MAX_PATCHES})")));
    }
    for change in changes {
        let machine = MachineId::new(&change.machine_id);
        let result = context.backend.set_metadata(&machine, &change.key, &change.value).await;
        result.map_err(|failure| backend_error(failure, machine_not_found))?;
    }
    let mut response = empty_response(StatusCode::NO_CONTENT);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(response)
}

/// Extension.
pub async fn set_cordon<B: Backend>(context: &ApiContext<B>, id: &str, body: Body) -> ApiResult {
    let request: CordonRequest = body.decode_json().await?;
    let machine = MachineId::new(id);
    if context.with_view(|view, _| view.machine_object(&machine).is_none())? {
        return Err(machine_not_found());
    }
    let result = context.backend.set_cordon(&machine, request.cordon).await;
    result.map_err(|failure| backend_error(failure, machine_not_found))?;
    Ok(empty_response(StatusCode::NO_CONTENT))
}
