//! The original's API, below either of its prefixes.

use bytes::Bytes;
use fleet_api::discovery;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use crate::answer::{Answered, JSON, refuse, unknown_path, with, wrong_method};
use crate::backend::Backend;
use crate::body;
use crate::front::Front;
use crate::payload::Payload;
use crate::request::{Target, must_be_json};
use crate::{machines, put, states, units};

const GET_ONLY: &str = "only GET supported against this resource";
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// `below` are the segments behind the prefix.
pub async fn answer<B: Backend>(
    front: &Front<B>,
    below: &[&str],
    target: &Target,
    head: &Parts,
    body: &mut Incoming,
) -> Answered {
    match (below, &head.method) {
        ([], _) => Err(wrong_method("")),
        (["discovery"], &Method::GET) => {
            Ok(with(JSON, Payload::Full(Bytes::from_static(discovery().as_bytes()))))
        }
        (["discovery"], _) => Err(refuse(400, "only HTTP GET supported against this resource")),
        (["metrics"], method) => metrics(front, method),
        (["units"], &Method::GET) => units::list(front, target),
        (["state"], &Method::GET) => states::list(front, target),
        (["units"] | ["state"], _) => Err(wrong_method(GET_ONLY)),
        (["units" | "state", ""], _) => Err(unknown_path()),
        (["units", name], &Method::GET) => units::get(front, name),
        (["units", name], &Method::DELETE) => units::destroy(front, name).await,
        // No unit's name has a slash, and who gives one is told so.
        (["units", name @ ..], &Method::PUT) => {
            must_be_json(&head.headers)?;
            put::put(front, &name.join("/"), body::read(body, &front.room).await?).await
        }
        (["units", _], _) => Err(wrong_method("only GET, PUT and DELETE supported against this resource")),
        (["state", name], &Method::GET) => states::get(front, name),
        (["state", _], _) => Err(wrong_method(GET_ONLY)),
        (["machines"], &Method::GET) => machines::list(front, target),
        (["machines"], &Method::PATCH) => machines::patch(front, body::read(body, &front.room).await?).await,
        (["machines"], _) => Err(wrong_method("only GET and PATCH supported against this resource")),
        _ => Err(unknown_path()),
    }
}

/// Also at the root, where collectors look for it.
pub fn metrics<B: Backend>(front: &Front<B>, method: &Method) -> Answered {
    if *method != Method::GET {
        return Err(wrong_method(GET_ONLY));
    }
    Ok(with(METRICS, Payload::Full(front.backend.metrics().into())))
}
