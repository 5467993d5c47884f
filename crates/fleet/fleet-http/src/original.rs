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
    match (segments, &head.method) {
        ([], _) => Err(method_not_allowed("")),
        (["discovery"], &Method::GET) => {
            Ok(response(JSON, Payload::Full(Bytes::from_static(discovery().as_bytes()))))
        }
        (["discovery"], _) => Err(api_error(400, "only HTTP GET supported against this resource")),
        (["metrics"], method) => metrics(context, method),
        (["units"], &Method::GET) => units::list(context, target),
        (["state"], &Method::GET) => states::list(context, target),
        (["units"] | ["state"], _) => Err(method_not_allowed(GET_ONLY)),
        (["units" | "state", ""], _) => Err(path_not_found()),
        (["units", name], &Method::GET) => units::get(context, name),
        (["units", name], &Method::DELETE) => units::destroy(context, name).await,
        // Names with slashes are rejected with a specific message.
        (["units", name @ ..], &Method::PUT) => {
            require_json(&head.headers)?;
            put::put(context, &name.join("/"), body::read(body, &context.body_budget).await?).await
        }
        (["units", _], _) => {
            Err(method_not_allowed("only GET, PUT and DELETE supported against this resource"))
        }
        (["state", name], &Method::GET) => states::get(context, name),
        (["state", _], _) => Err(method_not_allowed(GET_ONLY)),
        (["machines"], &Method::GET) => machines::list(context, target),
        (["machines"], &Method::PATCH) => {
            machines::patch(context, body::read(body, &context.body_budget).await?).await
        }
        (["machines"], _) => Err(method_not_allowed("only GET and PATCH supported against this resource")),
        _ => Err(path_not_found()),
    }
}

/// Also served at the root, the default path of collectors.
pub fn metrics<B: Backend>(context: &ApiContext<B>, method: &Method) -> ApiResult {
    if *method != Method::GET {
        return Err(method_not_allowed(GET_ONLY));
    }
    Ok(response(METRICS, Payload::Full(context.backend.metrics().into())))
}
