//! State of the servers: version, health, statistics.

use std::collections::BTreeMap;

use serde::Deserialize;

pub use etcd_api::StoreStatistics;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Error, Reason};
use crate::limits::MAX_SMALL_RESPONSE_BYTES;
use crate::transport::Call;

/// `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Version of the responding member.
    #[serde(rename = "etcdserver")]
    pub server: String,
    /// `not_decided` before the first leader.
    #[serde(default, rename = "etcdcluster")]
    pub cluster: String,
}

/// The health that an endpoint reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// `/health` reports true: the member has a leader and commits.
    Healthy,
    /// It reports any other value.
    Unhealthy,
}

/// `GET /v2/stats/self`: the responding member.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SelfStatistics {
    /// `--name` of the member.
    pub name: String,
    /// Lower-case hex.
    pub id: String,
    /// `StateLeader`, `StateFollower` or `StateCandidate`.
    pub state: String,
    /// RFC 3339.
    pub start_time: String,
    /// The leader as known to the member.
    pub leader_info: LeaderInfo,
    /// Append requests received from the leader.
    #[serde(default)]
    pub recv_append_request_cnt: u64,
    /// Append requests sent to followers.
    #[serde(default)]
    pub send_append_request_cnt: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaderInfo {
    /// The leader's id.
    pub leader: String,
    pub uptime: String,
    pub start_time: String,
}

/// `GET /v2/stats/leader`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LeaderStatistics {
    /// The leader's id in lower-case hex.
    pub leader: String,
    /// Keyed by id in lower-case hex.
    pub followers: BTreeMap<String, Follower>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Follower {
    pub latency: Latency,
    pub counts: Counts,
}

/// Times in milliseconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub current: f64,
    pub average: f64,
    pub standard_deviation: f64,
    pub minimum: f64,
    pub maximum: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Counts {
    pub fail: u64,
    pub success: u64,
}

/// 2.x encodes the value as a string.
#[derive(Deserialize)]
struct HealthResponse {
    health: serde_json::Value,
}

impl Client {
    /// Version of the responding member and of the cluster.
    pub async fn version(&self) -> Result<Version, Error> {
        self.send_for_json(&Call::get("/version"), &[200]).await
    }

    /// The health of any endpoint, whether or not it is one of the client's.
    pub async fn health(&self, endpoint: &Endpoint) -> Result<Health, Reason> {
        let reply = self.send_to(endpoint, &Call::get("/health")).await?;
        if reply.body.len() > MAX_SMALL_RESPONSE_BYTES {
            return Err(Reason::TooLong { endpoint: endpoint.to_string(), limit: MAX_SMALL_RESPONSE_BYTES });
        }
        let response: HealthResponse =
            serde_json::from_slice(&reply.body).map_err(|error| Reason::Broken(error.to_string()))?;
        let healthy = response.health == "true" || response.health == true;
        Ok(if healthy { Health::Healthy } else { Health::Unhealthy })
    }

    /// Statistics of the responding member.
    pub async fn self_statistics(&self) -> Result<SelfStatistics, Error> {
        self.send_for_json(&Call::get("/v2/stats/self"), &[200]).await
    }

    /// Fails with status 403 at a member that is not the leader.
    pub async fn leader_statistics(&self) -> Result<LeaderStatistics, Error> {
        self.send_for_json(&Call::get("/v2/stats/leader"), &[200]).await
    }

    /// Operation counters of the responding member.
    pub async fn store_statistics(&self) -> Result<StoreStatistics, Error> {
        self.send_for_json(&Call::get("/v2/stats/store"), &[200]).await
    }
}
