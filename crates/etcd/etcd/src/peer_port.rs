//! The peer port, which is open before the cluster exists, so that bootstrapping members find each other.
//!
//! Until the member runs, it responds with 503, and in `-peers` mode with this member's proposal. Then it serves the
//! member list and upgrades connections to the peer protocol.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use etcd::MemberBackend;
use etcd_config::bootstrap::ClusterProposal;
use etcd_http::PeerFront;
use etcd_http::server::{Handler, Never, Payload, Peer, Reply};
use etcd_raft::Member;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper::{Request, Response, StatusCode};

const IDLE: Duration = Duration::from_secs(60);

/// The handlers once the member runs.
struct Running {
    front: Arc<PeerFront<MemberBackend>>,
    member: Member,
}

#[derive(Default)]
pub struct PeerPort {
    proposal: RwLock<Option<ClusterProposal>>,
    running: OnceLock<Running>,
}

impl PeerPort {
    pub fn set_proposal(&self, proposal: Option<ClusterProposal>) {
        *self.proposal.write().unwrap_or_else(PoisonError::into_inner) = proposal;
    }

    /// Serves the member from now on. Only the first call has an effect.
    pub fn run(&self, front: PeerFront<MemberBackend>, member: Member) {
        self.running.get_or_init(|| Running { front: Arc::new(front), member });
    }

    fn waiting(&self) -> Response<Payload> {
        let proposal = self.proposal.read().unwrap_or_else(PoisonError::into_inner);
        // invariant: a proposal is URLs and a token, which JSON can hold.
        let body =
            proposal.as_ref().and_then(|proposal| serde_json::to_string(proposal).ok()).unwrap_or_default();
        let mut response = Response::new(Payload::from(body));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        response
    }
}

impl Handler for PeerPort {
    type Chunks = Never;

    async fn handle(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Reply<Never> {
        let Some(running) = self.running.get() else { return Reply::Response(self.waiting()) };
        if !wants_peer(&request) {
            return Arc::clone(&running.front).handle(peer, request).await;
        }
        let head = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, etcd_raft::UPGRADE)
            .body(());
        let member = running.member.clone();
        match head {
            Ok(head) => Reply::Upgrade(
                head,
                Box::new(move |stream| {
                    Box::pin(async move {
                        if let Err(error) = member.serve_peer(Box::new(stream)).await {
                            let error = &error as &dyn std::error::Error;
                            tracing::info!(address = %peer.address, error, "a peer's connection ended");
                        }
                    })
                }),
            ),
            // invariant: the head is made of constants.
            Err(_) => Reply::Response(self.waiting()),
        }
    }

    /// Idle connections are closed: their number is limited, and members must be able to connect.
    fn idle_limit(&self) -> Option<Duration> {
        Some(IDLE)
    }
}

fn wants_peer(request: &Request<Incoming>) -> bool {
    request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes() == etcd_raft::UPGRADE.as_bytes())
}
