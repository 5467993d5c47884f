//! `/machines`: who is present, their metadata, and whether they take units.

use fleet_api::additions::CordonRequest;
use fleet_api::{ErrorDocument, MachinePage, MachinePatch, PatchError, paginate, parse_patches};
use fleet_core::MachineId;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

use crate::answer::{Answered, JSON, empty, failed, json, refuse};
use crate::backend::Backend;
use crate::body::Body;
use crate::front::Front;
use crate::limits::PATCHES;
use crate::request::Target;

fn no_machine() -> ErrorDocument {
    refuse(404, "machine does not exist")
}

pub fn list<B: Backend>(front: &Front<B>, target: &Target) -> Answered {
    let token = target.page(front.token_limit)?;
    let all = front.look(|view, _| fleet_core::responses::machines(view))?;
    let (machines, next) = paginate(&all, token);
    json(&MachinePage {
        machines: machines.to_vec(),
        next_page_token: next.map(|token| token.encode()).unwrap_or_default(),
    })
}

/// All changes are looked at before the first is made. The machines need not exist.
pub async fn patch<B: Backend>(front: &Front<B>, body: Body) -> Answered {
    let read: Result<Vec<MachinePatch>, PatchError> = body.read_by(parse_patches).await?;
    let changes = read.map_err(|error| refuse(400, error.to_string()))?;
    if changes.len() > PATCHES {
        return Err(refuse(400, format!("too many operations (max {PATCHES})")));
    }
    for change in changes {
        let machine = MachineId::new(&change.machine_id);
        let done = front.backend.set_metadata(&machine, &change.key, &change.value).await;
        done.map_err(|failure| failed(failure, no_machine))?;
    }
    let mut answer = empty(StatusCode::NO_CONTENT);
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(answer)
}

/// Addition.
pub async fn set_cordon<B: Backend>(front: &Front<B>, id: &str, body: Body) -> Answered {
    let request: CordonRequest = body.decoded().await?;
    let machine = MachineId::new(id);
    if front.look(|view, _| view.machine_object(&machine).is_none())? {
        return Err(no_machine());
    }
    let done = front.backend.set_cordon(&machine, request.cordon).await;
    done.map_err(|failure| failed(failure, no_machine))?;
    Ok(empty(StatusCode::NO_CONTENT))
}
