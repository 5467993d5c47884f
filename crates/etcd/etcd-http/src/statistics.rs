//! `/v2/stats/*`, `/debug/vars` and the log level.

use std::time::{Duration, SystemTime};

use etcd_api::{StoreStatistics, Timestamp, format_id};
use go_compat::format_duration;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::backend::{Backend, Follower, Role, Status};
use crate::body;
use crate::context::Context;
use crate::process::Usage;
use crate::response::{self, HttpResponse, to_json};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SelfStatistics {
    name: String,
    id: String,
    state: &'static str,
    start_time: String,
    leader_info: LeaderInfo,
    recv_append_request_cnt: u64,
    #[serde(skip_serializing_if = "is_zero")]
    recv_pkg_rate: f64,
    #[serde(skip_serializing_if = "is_zero")]
    recv_bandwidth_rate: f64,
    send_append_request_cnt: u64,
    #[serde(skip_serializing_if = "is_zero")]
    send_pkg_rate: f64,
    #[serde(skip_serializing_if = "is_zero")]
    send_bandwidth_rate: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaderInfo {
    leader: String,
    uptime: String,
    start_time: String,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn time(moment: SystemTime) -> String {
    Timestamp::from(moment).to_string()
}

impl SelfStatistics {
    fn new(status: &Status) -> SelfStatistics {
        let since = status.leader_since.unwrap_or(status.started);
        let uptime = status.leader_since.and_then(|at| at.elapsed().ok()).unwrap_or(Duration::ZERO);
        SelfStatistics {
            name: status.name.clone(),
            id: format_id(status.member_id),
            state: status.role.as_str(),
            start_time: time(status.started),
            leader_info: LeaderInfo {
                leader: status.leader.map(format_id).unwrap_or_default(),
                uptime: format_duration(uptime),
                start_time: time(since),
            },
            recv_append_request_cnt: status.appends_received,
            recv_pkg_rate: status.received.packets,
            recv_bandwidth_rate: status.received.bytes,
            send_append_request_cnt: status.appends_sent,
            send_pkg_rate: status.sent.packets,
            send_bandwidth_rate: status.sent.bytes,
        }
    }
}

pub(crate) fn self_statistics<B: Backend>(context: &Context<B>) -> HttpResponse {
    context.in_cluster(response::json(to_json(&SelfStatistics::new(&context.backend.status()))))
}

pub(crate) fn leader<B: Backend>(context: &Context<B>) -> HttpResponse {
    let status = context.backend.status();
    if status.role != Role::Leader {
        return context.in_cluster(response::message(StatusCode::FORBIDDEN, "not current leader"));
    }
    let followers: Vec<String> = status.followers.iter().map(follower).collect();
    let text = format!(
        "{{\"leader\":\"{}\",\"followers\":{{{}}}}}",
        format_id(status.member_id),
        followers.join(",")
    );
    context.in_cluster(response::json(text))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    current: f64,
    average: f64,
    standard_deviation: f64,
    minimum: f64,
    maximum: f64,
}

fn follower(follower: &Follower) -> String {
    let latency = Latency {
        current: follower.current,
        average: follower.average,
        standard_deviation: follower.standard_deviation,
        minimum: follower.minimum,
        maximum: follower.maximum,
    };
    format!(
        "\"{}\":{{\"latency\":{},\"counts\":{{\"fail\":{},\"success\":{}}}}}",
        format_id(follower.id),
        to_json(&latency),
        follower.failures,
        follower.successes
    )
}

pub(crate) fn store<B: Backend>(context: &Context<B>) -> HttpResponse {
    let counted = context.backend.read(|store| store.statistics());
    let all = StoreStatistics { watchers: context.backend.watchers(), ..counted };
    context.in_cluster(response::json(to_json(&all)))
}

pub(crate) fn vars<B: Backend>(context: &Context<B>) -> HttpResponse {
    let status = context.backend.status();
    let raft = serde_json::json!({
        "id": format_id(status.member_id),
        "term": status.position.term,
        "commit": status.committed,
        "applied": status.position.index,
        "lead": status.leader.map(format_id).unwrap_or_default(),
        "raftState": status.role.as_str(),
    });
    let all = serde_json::json!({
        "cmdline": context.settings.command_line,
        "file_descriptor_limit": Usage::now().file_limit,
        "memstats": {},
        "raft.status": raft,
    });
    let kind = HeaderValue::from_static("application/json; charset=utf-8");
    response::with(StatusCode::OK, kind, all.to_string() + "\n")
}

#[derive(Deserialize)]
struct Level {
    #[serde(rename = "Level", alias = "level", default)]
    level: String,
}

/// PUT of `/config/local/log`.
pub(crate) async fn log_level<B: Backend>(context: &Context<B>, request: Request<Incoming>) -> HttpResponse {
    let bad = |text: &str| response::message(StatusCode::BAD_REQUEST, text);
    let bytes = body::read(request.into_body()).await.ok();
    let Some(level) = bytes.and_then(|bytes| serde_json::from_slice::<Level>(&bytes).ok()) else {
        return bad("Invalid json body");
    };
    let set = context.settings.set_log_level.as_ref().is_some_and(|set| set(&level.level));
    if set {
        response::no_content(StatusCode::NO_CONTENT)
    } else {
        bad(&format!("Invalid log level {}", level.level))
    }
}
