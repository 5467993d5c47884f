//! Simulated machines that poll a server, for trying it out and for load tests (contract 1.4.11).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use omaha::{App, CheckResponse, Event, EventResult, EventType, Os};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// For one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum FakeError {
    #[error("invalid server URL {0}: expected http://HOST:PORT/PATH")]
    Url(String),
    #[error("cannot reach {0}")]
    Connect(String, #[source] io::Error),
    #[error("the request failed")]
    Http(#[from] hyper::Error),
    #[error("cannot build the request")]
    Request(#[from] hyper::http::Error),
    #[error("no response within {RESPONSE_TIMEOUT:?}")]
    Timeout,
    #[error("the server responded with {0}")]
    Status(StatusCode),
    #[error("cannot parse the response")]
    InvalidResponse(#[from] omaha::ReadError),
    #[error("unusable response")]
    UnusableResponse(#[from] omaha::ResponseError),
}

/// Properties that all machines share.
#[derive(Debug, Clone)]
pub struct Machines {
    /// `http://127.0.0.1:8041/v1/update/`.
    pub url: String,
    pub app_id: String,
    pub track: String,
    pub board: String,
    /// The version they start with.
    pub version: String,
    pub count: usize,
}

/// A keep-alive connection.
struct Connection {
    authority: String,
    path: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    fn new(url: &str) -> Result<Self, FakeError> {
        let uri: Uri = url.parse().map_err(|_| FakeError::Url(url.to_owned()))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => {
                let port = if authority.port().is_some() { "" } else { ":80" };
                Ok(Self {
                    authority: format!("{authority}{port}"),
                    path: uri.path().to_owned(),
                    sender: None,
                })
            }
            _ => Err(FakeError::Url(url.to_owned())),
        }
    }

    async fn ready(&mut self) -> Result<SendRequest<Full<Bytes>>, FakeError> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let failed = |error| FakeError::Connect(self.authority.clone(), error);
        let stream = TcpStream::connect(&self.authority).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection failed");
            }
        });
        Ok(sender)
    }

    async fn post(&mut self, body: String) -> Result<Bytes, FakeError> {
        let mut sender = self.ready().await?;
        let request = Request::post(&self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, omaha::CONTENT_TYPE)
            .body(Full::new(Bytes::from(body)))?;
        let answered = timeout(RESPONSE_TIMEOUT, async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            Ok::<_, FakeError>((status, response.into_body().collect().await?.to_bytes()))
        });
        let (status, bytes) = answered.await.map_err(|_| FakeError::Timeout)??;
        self.sender = Some(sender);
        if status == StatusCode::OK { Ok(bytes) } else { Err(FakeError::Status(status)) }
    }
}

/// One simulated machine.
struct Machine {
    number: usize,
    version: String,
    /// The version before the last reboot, until the next check reports it.
    previous: String,
    boots: u32,
}

impl Machine {
    fn name(&self) -> String {
        format!("{{fake-client-{:03}}}", self.number)
    }

    fn request(&self, machines: &Machines, is_check: bool, event: Event) -> String {
        let app = App {
            app_id: machines.app_id.clone(),
            version: self.version.clone(),
            track: machines.track.clone(),
            boot_id: format!("{{fake-{}-{}}}", self.number, self.boots),
            oem: "fake".to_owned(),
            aleph_version: machines.version.clone(),
            machine_id: format!("{:032x}", self.number + 1),
            lang: "en-US".to_owned(),
            board: machines.board.clone(),
            ping: is_check,
            update_check: is_check,
            events: vec![event],
            ..App::default()
        };
        let name = format!("keelson-fake-{}", env!("CARGO_PKG_VERSION"));
        let request = omaha::Request {
            version: name.clone(),
            updater_version: name,
            install_source: "scheduler".to_owned(),
            is_machine: true,
            os: Os { version: "Fake".to_owned(), platform: "CoreOS".to_owned(), ..Os::default() },
            apps: vec![app],
        };
        request.write()
    }

    /// Returns the offered version.
    async fn check(
        &mut self,
        machines: &Machines,
        connection: &mut Connection,
    ) -> Result<Option<String>, FakeError> {
        let event = Event::rebooted(&std::mem::take(&mut self.previous));
        let answer = connection.post(self.request(machines, true, event)).await?;
        let response = omaha::Response::read(&answer)?;
        Ok(match response.check_response()? {
            CheckResponse::NoUpdate { .. } => None,
            CheckResponse::Update(offer) => Some(offer.version.to_owned()),
        })
    }

    /// Reports download, installation and reboot without performing them.
    async fn update(
        &mut self,
        version: String,
        machines: &Machines,
        connection: &mut Connection,
    ) -> Result<(), FakeError> {
        for kind in [EventType::DOWNLOAD_STARTED, EventType::DOWNLOAD_FINISHED, EventType::UPDATE_COMPLETE] {
            connection.post(self.request(machines, false, Event::new(kind, EventResult::SUCCESS))).await?;
        }
        self.previous = std::mem::replace(&mut self.version, version);
        self.boots += 1;
        Ok(())
    }
}

/// Polls forever with all machines, each at its own interval within `interval`. Calls `report` with a line per check.
///
/// # Errors
/// The URL is invalid. Later errors are reported, not returned.
pub async fn poll(
    machines: Machines,
    interval: (Duration, Duration),
    report: impl Fn(String) + Send + Sync + 'static,
) -> Result<(), FakeError> {
    Connection::new(&machines.url)?;
    let (machines, report) = (Arc::new(machines), Arc::new(report));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..machines.count {
        let (machines, report) = (machines.clone(), report.clone());
        tasks.spawn(async move {
            let version = machines.version.clone();
            let mut machine = Machine { number, version, previous: String::new(), boots: 0 };
            let Ok(mut connection) = Connection::new(&machines.url) else { return };
            loop {
                report(check_and_update(&mut machine, &machines, &mut connection).await);
                sleep(interval_of(interval, number)).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn check_and_update(machine: &mut Machine, machines: &Machines, connection: &mut Connection) -> String {
    let name = machine.name();
    let offered = match machine.check(machines, connection).await {
        Ok(Some(version)) => version,
        Ok(None) => return format!("{name}: noupdate"),
        Err(error) => return format!("{name}: {}", chain(&error)),
    };
    let before = machine.version.clone();
    match machine.update(offered, machines, connection).await {
        Ok(()) => format!("{name}: updated from {before} to {}", machine.version),
        Err(error) => format!("{name}: {}", chain(&error)),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Spreads the machines evenly by number.
fn interval_of((least, most): (Duration, Duration), number: usize) -> Duration {
    let step = u32::try_from(number * 37 % 100).unwrap_or_default();
    least + most.saturating_sub(least) * step / 100
}

/// Results of a load test. Times are in microseconds.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LoadReport {
    pub machines: usize,
    pub connections: usize,
    pub seconds: f64,
    pub checks: u64,
    pub per_second: f64,
    pub p50: u64,
    pub p99: u64,
    pub slowest: u64,
    pub updates_offered: u64,
    pub failed: u64,
}

/// Lets the machines check in turn over `connections` connections for `time`, at `rate` checks per second in total or
/// as fast as the server responds. The latency of a delayed check counts from its due time.
///
/// # Errors
/// The URL is invalid.
pub async fn load(
    machines: Machines,
    connections: usize,
    time: Duration,
    rate: Option<f64>,
) -> Result<LoadReport, FakeError> {
    Connection::new(&machines.url)?;
    let (machines, next, offered, failed) = (
        Arc::new(machines),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicU64::new(0)),
    );
    let times = Arc::new(Mutex::new(Vec::<u64>::new()));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (machines, next, offered, failed, times) =
            (machines.clone(), next.clone(), offered.clone(), failed.clone(), times.clone());
        tasks.spawn(async move {
            let Ok(mut connection) = Connection::new(&machines.url) else { return };
            let mut latencies = Vec::new();
            while began.elapsed() < time {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let due = rate.map(|rate| Duration::from_secs_f64(turn as f64 / rate));
                if let Some(wait) = due.and_then(|due| due.checked_sub(began.elapsed())) {
                    sleep(wait).await;
                }
                let start = due.unwrap_or_else(|| began.elapsed());
                let number = usize::try_from(turn).unwrap_or_default() % machines.count.max(1);
                let version = machines.version.clone();
                let mut machine = Machine { number, version, previous: String::new(), boots: 0 };
                match machine.check(&machines, &mut connection).await {
                    Ok(found) => drop(offered.fetch_add(u64::from(found.is_some()), Ordering::Relaxed)),
                    Err(error) => {
                        tracing::debug!(%error, "a check failed");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let took = began.elapsed().saturating_sub(start);
                latencies.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            }
            times.lock().append(&mut latencies);
        });
    }
    while tasks.join_next().await.is_some() {}
    let seconds = began.elapsed().as_secs_f64();
    let mut times = std::mem::take(&mut *times.lock());
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or(0);
    let checks = u64::try_from(times.len()).unwrap_or(u64::MAX);
    Ok(LoadReport {
        machines: machines.count,
        connections,
        seconds,
        checks,
        per_second: checks as f64 / seconds,
        p50: at(0.5),
        p99: at(0.99),
        slowest: at(1.0),
        updates_offered: offered.load(Ordering::Relaxed),
        failed: failed.load(Ordering::Relaxed),
    })
}
