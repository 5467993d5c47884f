//! Small questions: versions, health, machines, the leader; and the peer port's two.

use bytes::Bytes;
use etcd_api::{ApiError, ErrorCode, Member};
use hyper::{Method, StatusCode};
use serde::Serialize;
use tokio::time::timeout;

use crate::answer::{self, Answer, TEXT};
use crate::backend::Backend;
use crate::context::Context;
use crate::limits;
use crate::members::to_json;

/// Read-only endpoints take these.
pub(crate) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

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

/// A member as peers read it: its id is a number, and empty fields are left out.
#[derive(Serialize)]
struct PeerMember<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "clientURLs", skip_serializing_if = "<[String]>::is_empty")]
    client_urls: &'a [String],
}

impl<'a> From<&'a Member> for PeerMember<'a> {
    fn from(member: &'a Member) -> PeerMember<'a> {
        let Member { id, name, peer_urls, client_urls } = member;
        PeerMember { id: *id, peer_urls, name, client_urls }
    }
}

/// The peer port's `/members`.
pub(crate) fn peer_members<B: Backend>(context: &Context<B>) -> Answer {
    let list = context.backend.read(|store| {
        let members: Vec<PeerMember<'_>> = store.membership().members().map(PeerMember::from).collect();
        to_json(&members)
    });
    context.in_cluster(answer::json(list + "\n"))
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
            answer::with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "metrics can not be written\n")
        }
    }
}
