//! The API of the original, below both of its prefixes.

use bytes::Bytes;
use fleet_api::discovery;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use crate::backend::Backend;
use crate::body;
use crate::context::ApiContext;
use crate::payload::Payload;
use crate::request::{Target, require_json};
use crate::response::{ApiResult, JSON, api_error, method_not_allowed, path_not_found, response};
use crate::routes::{self, ORIGINAL, Original};
use crate::{machines, put, states, units};

const GET_ONLY: &str = "only GET supported against this resource";
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

/// `segments` are the path segments after the prefix.
pub async fn handle<B: Backend>(
    context: &ApiContext<B>,
    segments: &[&str],
    target: &Target,
    head: &Parts,
    body: &mut Incoming,
) -> ApiResult {
    let method = &head.method;
    match segments {
        [] => return Err(method_not_allowed("")),
        ["units" | "state", ""] => return Err(path_not_found()),
        ["discovery"] if *method != Method::GET => {
            return Err(api_error(400, "only HTTP GET supported against this resource"));
        }
        // Names with slashes are rejected with a specific message.
        ["units", _, _, ..] if *method == Method::PUT => {
            return put_unit(context, segments, head, body).await;
        }
        _ => {}
    }
    match (routes::find(&ORIGINAL, segments, method)?, method) {
        (Original::Discovery, _) => {
            Ok(response(JSON, Payload::Full(Bytes::from_static(discovery().as_bytes()))))
        }
        (Original::Metrics, _) => metrics(context, method),
        (Original::Units, _) => units::list(context, target),
        (Original::Unit, &Method::GET) => units::get(context, segments[1]),
        (Original::Unit, &Method::DELETE) => units::destroy(context, segments[1]).await,
        (Original::Unit, _) => put_unit(context, segments, head, body).await,
        (Original::States, _) => states::list(context, target),
        (Original::State, _) => states::get(context, segments[1]),
        (Original::Machines, &Method::GET) => machines::list(context, target),
        // The original does not check the content type, and its clients may not send one. Browsers send no PATCH to
        // another site without its consent.
        (Original::Machines, _) => {
            machines::patch(context, body::read(body, &context.body_budget).await?).await
        }
    }
}

/// The name is everything after `units/`.
async fn put_unit<B: Backend>(
    context: &ApiContext<B>,
    segments: &[&str],
    head: &Parts,
    body: &mut Incoming,
) -> ApiResult {
    require_json(&head.headers)?;
    put::put(context, &segments[1..].join("/"), body::read(body, &context.body_budget).await?).await
}

/// Also served at the root, the default path of collectors.
pub fn metrics<B: Backend>(context: &ApiContext<B>, method: &Method) -> ApiResult {
    if *method != Method::GET {
        return Err(method_not_allowed(GET_ONLY));
    }
    Ok(response(METRICS, Payload::Full(context.backend.metrics().into())))
}
