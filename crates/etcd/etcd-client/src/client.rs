//! The client: endpoints and fail-over.

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::Response;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::config::{Config, Order, SlowReport};
use crate::endpoint::{Endpoint, EndpointError};
use crate::error::{Attempt, Error, Reason};
use crate::tls::TlsError;
use crate::transport::{Call, Reply, Transport};

/// Why no client was created from settings.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum OpenError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Cheap to clone; clones share endpoints and connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    transport: Transport,
    total_timeout: Duration,
    retry_after_timeout: bool,
    slow: Option<SlowReport>,
    endpoints: Arc<RwLock<Endpoints>>,
}

#[derive(Clone)]
struct Endpoints {
    list: Arc<[Endpoint]>,
    origins: Arc<[String]>,
    /// The endpoint that responded last, or the one after an endpoint that timed out.
    preferred: usize,
}

impl Endpoints {
    fn new(list: Vec<Endpoint>, order: Order) -> Endpoints {
        let origins = list.iter().map(Endpoint::origin).collect();
        let preferred = match order {
            Order::Configured => 0,
            Order::Shuffled => random_below(list.len()),
        };
        Endpoints { list: list.into(), origins, preferred }
    }
}

/// Not cryptographic: distributes clients over members.
fn random_below(bound: usize) -> usize {
    use std::hash::{BuildHasher as _, RandomState};
    if bound == 0 {
        return 0;
    }
    let bound = bound as u64;
    (RandomState::new().hash_one(bound) % bound) as usize
}

impl Client {
    /// Reads the TLS files; opens no connection.
    pub fn new(config: Config) -> Result<Client, TlsError> {
        let needed = config.endpoints.iter().any(Endpoint::is_https);
        let tls = config.tls.follow(needed)?;
        let transport = Transport::new(
            tls,
            config.dial,
            config.credentials.as_ref(),
            config.request_timeout,
            config.trace,
        );
        let Config { total_timeout, retry_after_timeout, slow, .. } = config;
        let endpoints = Arc::new(RwLock::new(Endpoints::new(config.endpoints, config.order)));
        Ok(Client {
            shared: Arc::new(Shared { transport, total_timeout, retry_after_timeout, slow, endpoints }),
        })
    }

    /// A client with other timeouts; shares endpoints, connections and the preferred endpoint with this one.
    pub fn with_timeouts(&self, request: Duration, total: Duration) -> Client {
        let shared = &self.shared;
        Client {
            shared: Arc::new(Shared {
                transport: shared.transport.with_request_timeout(request),
                total_timeout: total,
                retry_after_timeout: shared.retry_after_timeout,
                slow: shared.slow.clone(),
                endpoints: Arc::clone(&shared.endpoints),
            }),
        }
    }

    /// The current list.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.current().list.to_vec()
    }

    /// Replaces the endpoints. If the preferred endpoint is one of them, it remains preferred.
    pub fn set_endpoints(&self, list: Vec<Endpoint>) {
        let before = self.current();
        let mut after = Endpoints::new(list, Order::Configured);
        if let Some(preferred) = before.list.get(before.preferred) {
            after.preferred = after.list.iter().position(|one| one == preferred).unwrap_or(0);
        }
        *self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner) = after;
    }

    /// Replaces the endpoints by the members' client URLs. Members without client URLs are skipped.
    pub async fn sync(&self) -> Result<(), Error> {
        let mut list: Vec<Endpoint> = Vec::new();
        for url in self.members().await?.into_iter().flat_map(|member| member.client_urls) {
            // Invalid URLs are skipped: a member may publish anything.
            if let Ok(endpoint) = url.parse()
                && !list.contains(&endpoint)
            {
                list.push(endpoint);
            }
        }
        if list.is_empty() {
            return Err(Error::NoEndpoints);
        }
        self.set_endpoints(list);
        Ok(())
    }

    fn current(&self) -> Endpoints {
        self.shared.endpoints.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn prefer(&self, endpoint: &Endpoint) {
        let mut now = self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = now.list.iter().position(|one| one == endpoint) {
            now.preferred = at;
        }
    }

    /// Prefers the endpoint after one that timed out, so that the next request does not wait for it, unless the
    /// preference has changed since the request `began`.
    fn demote(&self, silent: &Endpoint, began: &Endpoints) {
        let mut now = self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let unchanged = Arc::ptr_eq(&now.list, &began.list) && now.preferred == began.preferred;
        if let Some(at) = now.list.iter().position(|one| one == silent)
            && (unchanged || now.preferred == at)
        {
            now.preferred = (at + 1) % now.list.len();
        }
    }

    /// Sends a request and reads the complete response, within the total timeout.
    pub(crate) async fn send(&self, call: &Call) -> Result<(Endpoint, Reply), Error> {
        let mut attempts = Vec::new();
        let all = self.try_each(call, &mut attempts, |transport, endpoint, trusted_origins, call| {
            Box::pin(async move {
                let reply = transport.exchange(endpoint, call, trusted_origins).await?;
                server_failure(endpoint, reply.status).map_or(Ok(reply), Err)
            })
        });
        match tokio::time::timeout(self.shared.total_timeout, all).await {
            Ok(done) => done,
            Err(_) => Err(Error::Deadline { attempts }),
        }
    }

    /// Sends a request whose response body is read by the caller, without a timeout.
    pub(crate) async fn open(&self, call: &Call) -> Result<(Endpoint, Response<Incoming>), Error> {
        let mut attempts = Vec::new();
        self.try_each(call, &mut attempts, |transport, endpoint, trusted_origins, call| {
            Box::pin(async move {
                let response = transport.open(endpoint, call, trusted_origins).await?;
                server_failure(endpoint, response.status()).map_or(Ok(response), Err)
            })
        })
        .await
    }

    /// Sends a request to this endpoint only.
    pub(crate) async fn send_to(&self, endpoint: &Endpoint, call: &Call) -> Result<Reply, Reason> {
        let trusted_origins = [endpoint.origin()];
        let attempt = self.shared.transport.exchange(endpoint, call, &trusted_origins);
        match tokio::time::timeout(self.shared.total_timeout, attempt).await {
            Ok(done) => done,
            Err(_) => Err(Reason::HeaderTimeout { endpoint: endpoint.to_string() }),
        }
    }

    async fn try_each<T>(
        &self,
        call: &Call,
        attempts: &mut Vec<Attempt>,
        send: impl for<'a> Fn(&'a Transport, &'a Endpoint, &'a [String], &'a Call) -> Attempting<'a, T>,
    ) -> Result<(Endpoint, T), Error> {
        let began = self.current();
        if began.list.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let (before, after) = began.list.split_at(began.preferred);
        let mut reported = Instant::now();
        for endpoint in after.iter().chain(before) {
            let attempt = send(&self.shared.transport, endpoint, &began.origins, call);
            let done = match &self.shared.slow {
                Some(slow) => slow.watch(attempt, endpoint, &mut reported).await,
                None => attempt.await,
            };
            match done {
                Ok(response) => {
                    self.prefer(endpoint);
                    return Ok((endpoint.clone(), response));
                }
                Err(reason) => {
                    if reason.timed_out() {
                        self.demote(endpoint, &began);
                    }
                    let repeated =
                        call.repeatable && (self.shared.retry_after_timeout || !reason.timed_out());
                    let stop = !repeated && !reason.nothing_sent();
                    let attempt = Attempt { endpoint: endpoint.clone(), reason };
                    if stop {
                        return Err(Error::Undecided { attempt: Box::new(attempt) });
                    }
                    attempts.push(attempt);
                }
            }
        }
        let alerts = attempts.iter().map(|attempt| match attempt.reason {
            Reason::Alert(alert) => Some(alert),
            _ => None,
        });
        match alerts.collect::<Option<Vec<_>>>().and_then(|all| all.first().copied()) {
            Some(alert) => Err(Error::Alert { alert }),
            None => Err(Error::Unavailable { attempts: std::mem::take(attempts) }),
        }
    }
}

impl SlowReport {
    /// Awaits an attempt; reports its endpoint if `after` has passed since the last report.
    async fn watch<T>(
        &self,
        mut attempt: Attempting<'_, T>,
        endpoint: &Endpoint,
        reported: &mut Instant,
    ) -> Result<T, Reason> {
        tokio::select! {
            done = &mut attempt => done,
            () = tokio::time::sleep_until(*reported + self.after) => {
                (self.report)(endpoint);
                *reported = Instant::now();
                attempt.await
            }
        }
    }
}

/// One attempt. Boxed, since the compiler cannot prove that an `AsyncFn`'s future is `Send`.
type Attempting<'a, T> = Pin<Box<dyn Future<Output = Result<T, Reason>> + Send + 'a>>;

/// 5xx: the next endpoint is tried.
fn server_failure(endpoint: &Endpoint, status: hyper::StatusCode) -> Option<Reason> {
    let endpoint = || endpoint.to_string();
    match status.as_u16() {
        500 | 503 => Some(Reason::NoLeader { endpoint: endpoint() }),
        code if code / 100 == 5 => Some(Reason::Server { endpoint: endpoint(), status: status.to_string() }),
        _ => None,
    }
}
