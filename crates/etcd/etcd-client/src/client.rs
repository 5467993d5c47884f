//! The client: its endpoints, and which of them is asked.

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::Response;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::config::{Config, Order, SlowReport};
use crate::endpoint::Endpoint;
use crate::error::{Attempt, Error, Reason};
use crate::tls::TlsError;
use crate::wire::{Call, Reply, Wire};

/// Cheap to clone; clones share endpoints and connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    wire: Wire,
    total_timeout: Duration,
    retry_after_timeout: bool,
    slow: Option<SlowReport>,
    endpoints: Arc<RwLock<Endpoints>>,
}

#[derive(Clone)]
struct Endpoints {
    list: Arc<[Endpoint]>,
    origins: Arc<[String]>,
    /// The endpoint that answered last, or the one after an endpoint that timed out.
    preferred: usize,
}

impl Endpoints {
    fn new(list: Vec<Endpoint>, order: Order) -> Endpoints {
        let origins = list.iter().map(Endpoint::origin).collect();
        let preferred = match order {
            Order::Given => 0,
            Order::Shuffled => arbitrary_below(list.len()),
        };
        Endpoints { list: list.into(), origins, preferred }
    }
}

/// Not for secrets: only spreads clients over members.
fn arbitrary_below(bound: usize) -> usize {
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
        let tls = config.tls.load(needed)?;
        let wire =
            Wire::new(tls, config.dial, config.credentials.as_ref(), config.request_timeout, config.trace);
        let Config { total_timeout, retry_after_timeout, slow, .. } = config;
        let endpoints = Arc::new(RwLock::new(Endpoints::new(config.endpoints, config.order)));
        Ok(Client { shared: Arc::new(Shared { wire, total_timeout, retry_after_timeout, slow, endpoints }) })
    }

    /// A client with other timeouts that shares endpoints, connections and the preferred endpoint with this one.
    pub fn with_timeouts(&self, request: Duration, total: Duration) -> Client {
        let shared = &self.shared;
        Client {
            shared: Arc::new(Shared {
                wire: shared.wire.with_request_timeout(request),
                total_timeout: total,
                retry_after_timeout: shared.retry_after_timeout,
                slow: shared.slow.clone(),
                endpoints: Arc::clone(&shared.endpoints),
            }),
        }
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.current().list.to_vec()
    }

    /// Uses these endpoints from now on. An endpoint that answered last and is among them stays the first
    /// to be asked.
    pub fn set_endpoints(&self, list: Vec<Endpoint>) {
        let before = self.current();
        let mut after = Endpoints::new(list, Order::Given);
        if let Some(liked) = before.list.get(before.preferred) {
            after.preferred = after.list.iter().position(|one| one == liked).unwrap_or(0);
        }
        *self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner) = after;
    }

    /// Asks for the members and uses their client URLs from now on. Members without one are left out.
    pub async fn sync(&self) -> Result<(), Error> {
        let mut list: Vec<Endpoint> = Vec::new();
        for url in self.members().await?.into_iter().flat_map(|member| member.client_urls) {
            // A URL that is none (a member may publish anything) is no reason to ignore the others.
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

    /// Moves the preference to the endpoint after one that timed out, so that the next request does not wait for it. A
    /// preference that changed since the request `began` stays.
    fn demote(&self, silent: &Endpoint, began: &Endpoints) {
        let mut now = self.shared.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let unchanged = Arc::ptr_eq(&now.list, &began.list) && now.preferred == began.preferred;
        if let Some(at) = now.list.iter().position(|one| one == silent)
            && (unchanged || now.preferred == at)
        {
            now.preferred = (at + 1) % now.list.len();
        }
    }

    /// A request with its whole answer, within the total time.
    pub(crate) async fn ask(&self, call: &Call) -> Result<(Endpoint, Reply), Error> {
        let mut attempts = Vec::new();
        let all = self.try_each(call, &mut attempts, |wire, endpoint, known, call| {
            Box::pin(async move {
                let reply = wire.exchange(endpoint, call, known).await?;
                server_failure(endpoint, reply.status).map_or(Ok(reply), Err)
            })
        });
        match tokio::time::timeout(self.shared.total_timeout, all).await {
            Ok(done) => done,
            Err(_) => Err(Error::Deadline { attempts }),
        }
    }

    /// A request whose body is read by the caller, for as long as it takes.
    pub(crate) async fn open(&self, call: &Call) -> Result<(Endpoint, Response<Incoming>), Error> {
        let mut attempts = Vec::new();
        self.try_each(call, &mut attempts, |wire, endpoint, known, call| {
            Box::pin(async move {
                let answer = wire.open(endpoint, call, known).await?;
                server_failure(endpoint, answer.status()).map_or(Ok(answer), Err)
            })
        })
        .await
    }

    /// A request to this endpoint alone, whatever it answers.
    pub(crate) async fn ask_at(&self, endpoint: &Endpoint, call: &Call) -> Result<Reply, Reason> {
        let known = [endpoint.origin()];
        let asked = self.shared.wire.exchange(endpoint, call, &known);
        match tokio::time::timeout(self.shared.total_timeout, asked).await {
            Ok(done) => done,
            Err(_) => Err(Reason::HeaderTimeout { endpoint: endpoint.to_string() }),
        }
    }

    async fn try_each<T>(
        &self,
        call: &Call,
        attempts: &mut Vec<Attempt>,
        send: impl for<'a> Fn(&'a Wire, &'a Endpoint, &'a [String], &'a Call) -> Attempting<'a, T>,
    ) -> Result<(Endpoint, T), Error> {
        let began = self.current();
        if began.list.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let (before, after) = began.list.split_at(began.preferred);
        let mut reported = Instant::now();
        for endpoint in after.iter().chain(before) {
            let attempt = send(&self.shared.wire, endpoint, &began.origins, call);
            let done = match &self.shared.slow {
                Some(slow) => slow.watch(attempt, endpoint, &mut reported).await,
                None => attempt.await,
            };
            match done {
                Ok(answer) => {
                    self.prefer(endpoint);
                    return Ok((endpoint.clone(), answer));
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
    /// Awaits an attempt; reports its endpoint when `after` has passed since the last report.
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

/// One attempt. Boxed and named: the compiler cannot yet see of an `AsyncFn` that it may go to another thread.
type Attempting<'a, T> = Pin<Box<dyn Future<Output = Result<T, Reason>> + Send + 'a>>;

/// 5xx: another member may do better.
fn server_failure(endpoint: &Endpoint, status: hyper::StatusCode) -> Option<Reason> {
    let endpoint = || endpoint.to_string();
    match status.as_u16() {
        500 | 503 => Some(Reason::NoLeader { endpoint: endpoint() }),
        code if code / 100 == 5 => Some(Reason::Server { endpoint: endpoint(), status: status.to_string() }),
        _ => None,
    }
}
