//! Fixture of a scene: the members, a separate folder, requests and watches.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backend::Cluster;
use crate::failure::Failure;
use crate::http::{self, Connection, HttpError, Request, Response};

pub const LIMIT: Duration = Duration::from_secs(10);

pub struct Fixture<'a> {
    pub cluster: &'a mut Cluster,
    /// `/v2/keys/...`, used by this scene only.
    pub folder: String,
}

impl<'a> Fixture<'a> {
    pub fn new(cluster: &'a mut Cluster, folder: &str) -> Result<Self, Failure> {
        Ok(Self { cluster, folder: format!("/v2/keys{folder}") })
    }

    pub fn address(&self) -> SocketAddr {
        self.cluster.addresses()[0]
    }

    /// Member by number; the last one if the cluster has fewer.
    pub fn member(&self, number: usize) -> SocketAddr {
        let all = self.cluster.addresses();
        all[number.min(all.len() - 1)]
    }

    pub fn put(&self, key: &str, form: &str) -> Result<Response, Failure> {
        self.exchange(&Request::form("PUT", self.target(key), form))
    }

    pub fn get(&self, key: &str) -> Result<Response, Failure> {
        self.exchange(&Request::new("GET", self.target(key)))
    }

    pub fn delete(&self, key: &str) -> Result<Response, Failure> {
        self.exchange(&Request::new("DELETE", self.target(key)))
    }

    pub fn target(&self, key: &str) -> String {
        format!("{}{key}", self.folder)
    }

    /// The key as events name it.
    pub fn key(&self, key: &str) -> String {
        self.target(key)["/v2/keys".len()..].to_owned()
    }

    pub fn exchange(&self, request: &Request) -> Result<Response, Failure> {
        exchange(self.address(), request)
    }

    pub fn watch(&self, key: &str) -> Result<Watch, Failure> {
        Watch::open(self.address(), &self.target(key))
    }
}

pub fn exchange(address: SocketAddr, request: &Request) -> Result<Response, Failure> {
    http::exchange(address, request, LIMIT)
        .map_err(|source| Failure::Http { request: named(request), source })
}

fn named(request: &Request) -> String {
    format!("{} {}", request.method, request.target)
}

/// The `modifiedIndex` of the node in an event or response.
pub fn index_of(event: &Value) -> u64 {
    event["node"]["modifiedIndex"].as_u64().unwrap_or(0)
}

pub fn json(response: &Response) -> Result<Value, Failure> {
    serde_json::from_slice(&response.body)
        .map_err(|error| Failure::differs(format!("{error}: {}", response.text())))
}

/// Fails unless `found` is what the contract requires.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Failure> {
    if found == expected {
        Ok(())
    } else {
        Err(Failure::differs(format!("{what}: {found:?} instead of {expected:?}")))
    }
}

/// An open watch whose response head has arrived.
pub struct Watch {
    connection: Connection,
    pub head: Response,
    request: String,
}

impl Watch {
    pub fn open(address: SocketAddr, target: &str) -> Result<Self, Failure> {
        let request = Request::new("GET", target);
        let failed = |source| Failure::Http { request: named(&request), source };
        let mut connection = Connection::open(address, LIMIT).map_err(failed)?;
        connection.send(&request).map_err(failed)?;
        let (head, _) = connection.head().map_err(failed)?;
        Ok(Self { connection, head, request: named(&request) })
    }

    /// The next event, or `None` at the end of the body.
    pub fn next(&mut self) -> Result<Option<Value>, Failure> {
        match self.connection.chunk() {
            // Some servers send the line end as a separate chunk.
            Ok(Some(chunk)) if chunk.trim_ascii().is_empty() => self.next(),
            Ok(Some(chunk)) => serde_json::from_slice(&chunk).map(Some).map_err(|error| {
                Failure::differs(format!("{}: {error}: {}", self.request, String::from_utf8_lossy(&chunk)))
            }),
            Ok(None) => Ok(None),
            Err(source) => Err(Failure::Http { request: self.request.clone(), source }),
        }
    }

    pub fn event(&mut self) -> Result<Value, Failure> {
        self.next()?.ok_or_else(|| Failure::differs(format!("{} ended without an event", self.request)))
    }

    /// Fails if anything arrives within `time`.
    pub fn silent_for(&mut self, time: Duration) -> Result<(), Failure> {
        let failed = |source| Failure::Http { request: self.request.clone(), source };
        self.connection.set_limit(time).map_err(failed)?;
        let received = self.connection.chunk();
        self.connection.set_limit(LIMIT).map_err(failed)?;
        match received {
            Err(HttpError::TimedOut) => Ok(()),
            other => Err(Failure::differs(format!("{} should wait, but: {other:?}", self.request))),
        }
    }
}

/// Polls until `holds`; a timeout reports the last response.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut observe: impl FnMut() -> Result<Result<(), String>, Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        match observe()? {
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() > deadline => {
                return Err(Failure::differs(format!("{what} not within {limit:?}; last: {last}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
