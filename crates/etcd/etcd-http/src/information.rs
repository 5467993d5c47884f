//! Small questions: versions, health, machines, the leader; and the peer port's two.

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, Member};
use hyper::StatusCode;
use tokio::time::timeout;

use crate::answer::{self, Answer, TEXT};
use crate::backend::Backend;
use crate::context::Context;
use crate::limits;

pub(crate) fn version<B: Backend>(context: &Context<B>) -> Answer {
    let cluster = context.backend.read(|store| store.membership().cluster_version().map(str::to_owned));
    let cluster = cluster.unwrap_or_else(|| "not_decided".to_owned());
    let server = &context.settings.server_version;
    answer::json(format!("{{\"etcdserver\":\"{server}\",\"etcdcluster\":\"{cluster}\"}}"))
}

/// Healthy: a linearizable read succeeds in time, so there is a leader with a majority.
pub(crate) async fn health<B: Backend>(context: &Context<B>) -> Answer {
    match timeout(limits::HEALTH_TIME, context.backend.barrier()).await {
        Ok(Ok(())) => answer::text("{\"health\": \"true\"}"),
        Ok(Err(_)) | Err(_) => {
            answer::plain_error(StatusCode::SERVICE_UNAVAILABLE, "{\"health\": \"false\"}\n")
        }
    }
}

/// All client URLs of all members.
pub(crate) fn machines<B: Backend>(context: &Context<B>) -> Answer {
    let mut urls: Vec<String> = context
        .backend
        .read(|store| store.membership().members().flat_map(|member| member.client_urls.clone()).collect());
    urls.sort();
    answer::text(urls.join(", "))
}

/// The leader's peer URL.
pub(crate) fn leader<B: Backend>(context: &Context<B>) -> Answer {
    let leader = context.backend.status().leader;
    let (url, index) = context.backend.read(|store| {
        let member = leader.and_then(|id| store.membership().get(id));
        (member.and_then(|member| member.peer_urls.first().cloned()), store.index())
    });
    match url {
        Some(url) => answer::text(url),
        None => context.api_error(&ApiError::new(ErrorCode::DuringElection, "", index)),
    }
}

/// The peer port's `/members`.
pub(crate) fn peer_members<B: Backend>(context: &Context<B>) -> Answer {
    let list = context.backend.read(|store| Member::peer_list_json(store.membership().members()));
    context.in_cluster(answer::json(Bytes::from(list)))
}

pub(crate) fn metrics<B: Backend>(context: &Context<B>) -> Answer {
    let statistics = context.backend.read(|store| store.statistics());
    let status = context.backend.status();
    match context.metrics.text(&statistics, context.backend.watchers(), &status) {
        Ok(page) => answer::with(
            StatusCode::OK,
            hyper::header::HeaderValue::from_static("text/plain; version=0.0.4"),
            Bytes::from(page),
        ),
        Err(error) => {
            tracing::error!(%error, "writing metrics");
            answer::with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics cannot be written\n")
        }
    }
}
