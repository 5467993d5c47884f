//! Dispatches requests by path.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::SERVER;
use hyper::http::request::Parts;

use crate::backend::Backend;
use crate::body::drain;
use crate::context::ApiContext;
use crate::journal::Cancellation;
use crate::request::Target;
use crate::response::{ApiResponse, ApiResult, error_response, method_not_allowed, path_not_found};
use crate::{additions, original};

pub async fn handle<B: Backend>(
    context: Arc<ApiContext<B>>,
    request: Request<Incoming>,
    cancellation: Cancellation,
) -> ApiResponse {
    let (head, mut body) = request.into_parts();
    let result = dispatch(&context, &head, &mut body, cancellation).await;
    drain(body).await;
    let mut response = result.unwrap_or_else(|document| error_response(&document));
    tracing::debug!("HTTP {} {} {}", head.method, head.uri, response.status().as_u16());
    response.headers_mut().insert(SERVER, context.server.clone());
    response
}

async fn dispatch<B: Backend>(
    context: &ApiContext<B>,
    head: &Parts,
    body: &mut Incoming,
    cancellation: Cancellation,
) -> ApiResult {
    // Every path fails while the store is unavailable.
    context.with_view(|_, _| ())?;
    let target = Target::from_uri(&head.uri);
    let segments: Vec<&str> = target.segments.iter().map(String::as_str).collect();
    match &segments[..] {
        [""] => Err(method_not_allowed("")),
        ["metrics"] => original::metrics(context, &head.method),
        ["fleet", "v1", segments @ ..] | ["v1-alpha", segments @ ..] => {
            original::handle(context, segments, &target, head, body).await
        }
        ["keelson", "v1", segments @ ..] => {
            additions::handle(context, segments, &target, head, body, cancellation).await
        }
        _ => Err(path_not_found()),
    }
}
