//! The HTTP front end's back end over a raft member. It only converts names and times.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use etcd_api::{ApiError, Timestamp, Unavailable};
use etcd_config::ids;
use etcd_http::backend::{
    Backend, EventSource, Follower, MemberChangeError, Next, OpenWatch, Position, Rate, Role, Status,
    WatchOptions,
};
use etcd_raft::Member;
use etcd_store::{Change, Command, CommandError, Outcome, Store};

use crate::metrics::Metrics;

#[derive(Clone)]
pub struct MemberBackend {
    member: Member,
    metrics: Arc<Metrics>,
    name: String,
    /// Token of the cluster; ids of added members are computed from it.
    token: String,
    /// Reject changes that would lose quorum.
    strict: bool,
}

impl MemberBackend {
    pub fn new(member: Member, metrics: Arc<Metrics>, name: &str, token: &str, strict: bool) -> Self {
        Self { member, metrics, name: name.to_owned(), token: token.to_owned(), strict }
    }

    /// With `strict`, requires that a majority of the resulting members has started. The result is the current
    /// membership except `without`, plus `more` unstarted members.
    fn check_quorum(&self, without: Option<u64>, more: usize) -> Result<(), MemberChangeError> {
        let (started, remaining) = self.read(|store| {
            let remaining = || store.membership().members().filter(|member| Some(member.id) != without);
            (remaining().filter(|member| !member.name.is_empty()).count(), remaining().count())
        });
        let all = remaining + more;
        if self.strict && all > 0 && started <= all / 2 { Err(MemberChangeError::Unsafe) } else { Ok(()) }
    }
}

fn changed_member(outcome: Outcome) -> Result<etcd_api::Member, MemberChangeError> {
    match outcome.result {
        Ok(Change::Member(member)) => Ok(member),
        Err(CommandError::Membership(error)) => Err(error.into()),
        // A membership command has no other outcome.
        Ok(_) | Err(_) => Err(Unavailable::Cancelled.into()),
    }
}

impl Backend for MemberBackend {
    type Watch = MemberWatch;

    async fn propose(&self, command: Command) -> Result<Outcome, Unavailable> {
        let began = Instant::now();
        let outcome = self.member.propose(&command).await?;
        self.metrics.proposed(began.elapsed());
        Ok(outcome)
    }

    fn now(&self) -> Timestamp {
        self.member.now()
    }

    async fn settled_time(&self) -> Result<Timestamp, Unavailable> {
        self.member.settled_time().await
    }

    async fn barrier(&self) -> Result<(), Unavailable> {
        self.member.barrier().await
    }

    fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        self.member.read(read)
    }

    fn watch(&self, request: &WatchOptions) -> Result<OpenWatch<MemberWatch>, ApiError> {
        let WatchOptions { key, recursive, since, stream } = request;
        let watch = match stream {
            true => self.member.watch(key, *recursive, *since)?,
            false => self.member.watch_once(key, *recursive, *since)?,
        };
        // The watch itself yields past events first.
        Ok(OpenWatch { index: watch.start_index(), history: Vec::new(), live: Some(MemberWatch(watch)) })
    }

    fn watchers(&self) -> u64 {
        self.member.watchers()
    }

    fn auth_enabled(&self) -> bool {
        self.member.auth_enabled()
    }

    fn position(&self) -> Position {
        let (index, term) = self.member.position();
        Position { index, term }
    }

    fn status(&self) -> Status {
        let status = self.member.status();
        let wall = |instant: Instant| SystemTime::now().checked_sub(instant.elapsed()).unwrap_or(UNIX_EPOCH);
        let leads = status.role == etcd_raft::Role::Leader;
        let followers = status.peers.iter().map(|(id, peer)| follower(*id, peer));
        Status {
            cluster_id: status.cluster_id,
            member_id: status.member_id,
            name: self.name.clone(),
            role: match status.role {
                etcd_raft::Role::Leader => Role::Leader,
                etcd_raft::Role::Candidate => Role::Candidate,
                _ => Role::Follower,
            },
            leader: status.leader,
            started: wall(status.started),
            leader_since: status.leader.map(|_| wall(status.leader_since)),
            position: Position { index: status.applied, term: status.term },
            committed: status.committed,
            proposals_pending: status.proposals_pending,
            proposals_failed: status.proposals_failed,
            leader_changes: status.leader_changes,
            appends_received: status.append_received,
            appends_sent: status.append_sent,
            received: Rate::default(),
            sent: Rate::default(),
            followers: if leads { followers.collect() } else { Vec::new() },
            database_bytes: status.state_bytes,
        }
    }

    async fn add_member(&self, peer_urls: Vec<String>) -> Result<etcd_api::Member, MemberChangeError> {
        self.check_quorum(None, 1)?;
        let urls: Vec<_> = peer_urls.iter().filter_map(|url| url.parse().ok()).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let id = ids::member(&urls, &self.token, Some(now)).0;
        let (name, client_urls) = (String::new(), Vec::new());
        let record = etcd_api::Member { id, name, peer_urls, client_urls };
        changed_member(self.member.add_member(record).await?)
    }

    async fn update_member(&self, id: u64, peer_urls: Vec<String>) -> Result<(), MemberChangeError> {
        changed_member(self.member.update_member(id, peer_urls).await?).map(drop)
    }

    async fn remove_member(&self, id: u64) -> Result<(), MemberChangeError> {
        let started = self.read(|store| {
            store.membership().members().any(|member| member.id == id && !member.name.is_empty())
        });
        if started {
            // A started member counts both as member and as started.
            self.check_quorum(Some(id), 0)?;
        }
        changed_member(self.member.remove_member(id).await?).map(drop)
    }
}

fn follower(id: u64, peer: &etcd_raft::PeerStatus) -> Follower {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    Follower {
        id,
        current: milliseconds(peer.latency.current),
        average: milliseconds(peer.latency.average),
        standard_deviation: milliseconds(peer.latency.deviation),
        minimum: milliseconds(peer.latency.minimum),
        maximum: milliseconds(peer.latency.maximum),
        failures: peer.failures,
        successes: peer.successes,
    }
}

pub struct MemberWatch(etcd_raft::Watch);

impl EventSource for MemberWatch {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.0.poll_next(context).map(|event| event.map_or(Next::Closed, Next::Event))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use etcd_api::Key;
    use etcd_raft::{InitialMember, MemberConfig, Start, TcpNetwork};
    use etcd_store::Put;

    use super::*;

    async fn backend(folder: &std::path::Path) -> MemberBackend {
        let mut config = MemberConfig::new(folder.join("member"), 1, 1, "m1");
        config.peer_urls = vec!["http://127.0.0.1:1".to_owned()];
        let (name, peer_urls) = ("m1".to_owned(), config.peer_urls.clone());
        config.start = Start::New(vec![InitialMember { id: 1, name, peer_urls }]);
        let member = Member::start(config, Arc::new(TcpNetwork::default())).await.unwrap();
        MemberBackend::new(member, Arc::new(Metrics::new().unwrap()), "m1", "token", true)
    }

    #[tokio::test]
    async fn only_streams_remain_registered_after_an_event() {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path()).await;
        let key = Key::parse("/a").unwrap();
        let watch = |stream| {
            let request = WatchOptions { key: key.clone(), recursive: false, since: None, stream };
            backend.watch(&request).unwrap()
        };
        let _watches = [watch(true), watch(false)];
        assert_eq!(backend.watchers(), 2);
        let put = Put {
            key: key.clone(),
            value: Bytes::new(),
            dir: false,
            expiration: None,
            prev_exist: None,
            prev_value: None,
            prev_index: None,
            refresh: false,
        };
        backend.propose(Command::Put(put)).await.unwrap();
        assert_eq!(backend.watchers(), 1);
    }
}
