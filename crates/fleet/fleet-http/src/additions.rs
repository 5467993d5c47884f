//! What the original's API has not, below its own prefix.

use fleet_api::additions::{PlanRequest, RebalanceRequest};
use hyper::Method;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use unit_file::UnitName;

use crate::answer::{Answered, failed, json, no_unit, refuse, unknown_path, wrong_method};
use crate::backend::Backend;
use crate::body::{self, apart};
use crate::front::Front;
use crate::journal::Ends;
use crate::request::{Target, must_be_json};
use crate::{journal, machines, status, units};

/// `below` are the segments behind the prefix.
pub async fn answer<B: Backend>(
    front: &Front<B>,
    below: &[&str],
    target: &Target,
    head: &Parts,
    body: &mut Incoming,
    ends: Ends,
) -> Answered {
    let method = match below {
        ["units"] | ["units", _, "explanation" | "status" | "journal"] => Method::GET,
        ["plan"] | ["rebalance"] => Method::POST,
        ["machines", _, "cordon"] => Method::PUT,
        _ => return Err(unknown_path()),
    };
    if head.method != method {
        return Err(wrong_method(&format!("only {method} supported against this resource")));
    }
    match below {
        ["units"] => units::named(front, target),
        ["units", name, "explanation"] => explanation(front, name),
        ["units", name, "status"] => status::get(front, name, target).await,
        ["units", name, _] => journal::get(front, name, target, ends),
        changing => {
            must_be_json(&head.headers)?;
            let body = body::read(body, &front.room).await?;
            match changing {
                ["machines", id, _] => machines::set_cordon(front, id, body).await,
                ["plan"] => plan(front, body.decoded().await?).await,
                _ => rebalance(front, body.decoded().await?).await,
            }
        }
    }
}

fn explanation<B: Backend>(front: &Front<B>, name: &str) -> Answered {
    let name = UnitName::parse(name).map_err(|_| no_unit())?;
    let explained = front.look(|view, scheduler| {
        view.unit(&name)?;
        fleet_core::responses::explanation(view, scheduler, &name)
    })?;
    json(&explained.ok_or_else(no_unit)?)
}

/// On copies: passes take their time, and whoever is asked holds a lock.
async fn plan<B: Backend>(front: &Front<B>, request: PlanRequest) -> Answered {
    let (view, scheduler) = front.look(|view, scheduler| (view.clone(), scheduler.clone()))?;
    let planned = apart(move || fleet_core::responses::plan(&view, &scheduler, &request.units)).await?;
    json(&planned.map_err(|error| refuse(400, error.to_string()))?)
}

async fn rebalance<B: Backend>(front: &Front<B>, request: RebalanceRequest) -> Answered {
    if request.dry_run {
        let scheduler = front.look(|_, scheduler| scheduler.clone())?;
        return json(&apart(move || fleet_core::responses::rebalance(&scheduler)).await?);
    }
    let begun = front.backend.rebalance().await;
    json(&begun.map_err(|failure| failed(failure, unknown_path))?)
}
