//! Events and commands of the bootstrap state machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::peer_response::{PeerResponse, RunningCluster};
use crate::data_dir::Contents;
use crate::discovery;
use crate::ids::Id;
use crate::initial_cluster::NewCluster;
use crate::url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    DataDir(Contents),
    /// The peers in `DATA/proxy/cluster`; empty if there is no such file.
    SavedPeers(Vec<Url>),
    /// Addresses of the hosts that could be resolved.
    Resolved(BTreeMap<String, IpAddr>),
    Srv {
        /// `_etcd-server-ssl._tcp`
        tls: Result<Vec<SrvRecord>, String>,
        /// `_etcd-server._tcp`
        plain: Result<Vec<SrvRecord>, String>,
    },
    Peer {
        peer: Url,
        response: PeerResponse,
    },
    /// The result of `ChangeMembers`: the local member's id, and the cluster after the change.
    Changed(Result<(Id, RunningCluster), String>),
    Discovery(discovery::Event),
    TimerExpired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecord {
    pub target: String,
    pub port: u16,
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    ReadDataDir,
    ReadSavedPeers,
    Resolve(Vec<String>),
    LookUpSrv {
        domain: String,
    },
    /// `GET /members` of each peer; each is answered by one `Event::Peer`, within `limits::PEERS_REQUEST_TIMEOUT`.
    QueryPeers(Vec<Url>),
    /// Uses the members API of the first of these client URLs that responds.
    ChangeMembers {
        through: Vec<Url>,
        /// The id of this member before it lost its data.
        remove: Option<Id>,
        add: Vec<Url>,
    },
    Discovery(discovery::Request),
    Wait(Duration),
    Log(String),
    Start(Start),
    /// Lines for the log; the program exits with 1.
    Fail(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// As the member in the data directory.
    Restart,
    #[serde(rename = "found")]
    Bootstrap(NewCluster),
    /// As a member of this cluster, from which it replicates its data.
    Join {
        own_id: Id,
        #[serde(skip)]
        cluster: RunningCluster,
    },
    /// As a proxy for the members that these peers know.
    Proxy { peers: Vec<Url> },
}
