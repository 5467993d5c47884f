//! Version, health, machines and leader, and the members at the peer port.

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, Member};
use hyper::StatusCode;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::context::Context;
use crate::limits;
use crate::response::{self, HttpResponse, TEXT};

pub(crate) fn version<B: Backend>(context: &Context<B>) -> HttpResponse {
    let cluster = context.backend.read(|store| store.membership().cluster_version().map(str::to_owned));
    let cluster = cluster.unwrap_or_else(|| "not_decided".to_owned());
    let server = &context.settings.server_version;
    response::json(format!("{{\"etcdserver\":\"{server}\",\"etcdcluster\":\"{cluster}\"}}"))
}

/// Healthy if a linearizable read succeeds in time, which requires a leader with a majority.
pub(crate) async fn health<B: Backend>(context: &Context<B>) -> HttpResponse {
    match timeout(limits::HEALTH_TIMEOUT, context.backend.barrier()).await {
        Ok(Ok(())) => response::text("{\"health\": \"true\"}"),
        Ok(Err(_)) | Err(_) => {
            response::plain_error(StatusCode::SERVICE_UNAVAILABLE, "{\"health\": \"false\"}\n")
        }
    }
}

/// All client URLs of all members.
pub(crate) fn machines<B: Backend>(context: &Context<B>) -> HttpResponse {
    let mut urls: Vec<String> = context
        .backend
        .read(|store| store.membership().members().flat_map(|member| member.client_urls.clone()).collect());
    urls.sort();
    response::text(urls.join(", "))
}

/// A peer URL of the leader.
pub(crate) fn leader<B: Backend>(context: &Context<B>) -> HttpResponse {
    let leader = context.backend.status().leader;
    let (url, index) = context.backend.read(|store| {
        let member = leader.and_then(|id| store.membership().get(id));
        (member.and_then(|member| member.peer_urls.first().cloned()), store.index())
    });
    match url {
        Some(url) => response::text(url),
        None => context.api_error(&ApiError::new(ErrorCode::DuringElection, "", index)),
    }
}

/// `/members` of the peer port.
pub(crate) fn peer_members<B: Backend>(context: &Context<B>) -> HttpResponse {
    let list = context.backend.read(|store| Member::peer_list_json(store.membership().members()));
    context.in_cluster(response::json(Bytes::from(list)))
}

pub(crate) fn metrics<B: Backend>(context: &Context<B>) -> HttpResponse {
    let statistics = context.backend.read(|store| store.statistics());
    let status = context.backend.status();
    match context.metrics.text(&statistics, context.backend.watchers(), &status) {
        Ok(page) => response::with(
            StatusCode::OK,
            hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"),
            Bytes::from(page),
        ),
        Err(error) => {
            tracing::error!(%error, "writing metrics");
            response::with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics cannot be written\n")
        }
    }
}
