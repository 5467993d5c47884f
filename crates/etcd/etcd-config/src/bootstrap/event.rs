//! The words between the machine and its hands.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::peer_answer::{PeerAnswer, RunningCluster};
use crate::data_dir::Contents;
use crate::discovery;
use crate::ids::Id;
use crate::initial_cluster::NewCluster;
use crate::url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    DataDir(Contents),
    /// What `DATA/proxy/cluster` names; empty where there is no such file.
    SavedPeers(Vec<Url>),
    /// Addresses of those hosts that could be resolved.
    Resolved(BTreeMap<String, IpAddr>),
    Srv {
        /// `_etcd-server-ssl._tcp`
        tls: Result<Vec<SrvRecord>, String>,
        /// `_etcd-server._tcp`
        plain: Result<Vec<SrvRecord>, String>,
    },
    Peer {
        peer: Url,
        answer: PeerAnswer,
    },
    /// The answer to `ChangeMembers`: the cluster as it is now, and the id that was given to us.
    Changed(Result<(Id, RunningCluster), String>),
    Discovery(discovery::Event),
    Due,
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
    /// `GET /members` of each; every one is answered by one `Event::Peer`, after
    /// `limits::PEERS_REQUEST_TIMEOUT` at the latest.
    AskPeers(Vec<Url>),
    /// Through the members API of whichever of these client URLs answers.
    ChangeMembers {
        through: Vec<Url>,
        /// Our own former self, whose data is gone.
        remove: Option<Id>,
        add: Vec<Url>,
    },
    Discovery(discovery::Request),
    Wait(Duration),
    Log(String),
    Start(Start),
    /// To the log, then exit 1.
    Fail(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// From the data directory alone.
    Restart,
    Found(NewCluster),
    /// As a member of this cluster, which sends what it has.
    Join {
        own_id: Id,
        #[serde(skip)]
        cluster: RunningCluster,
    },
    /// Forward to the members that these peers know of.
    Proxy {
        peers: Vec<Url>,
    },
}
