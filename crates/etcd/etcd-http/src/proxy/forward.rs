//! Forwards requests and refreshes the member list.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::time::sleep;

use super::endpoints::Endpoints;
use super::member_list::fetch_members;
use super::saved::{self, SavedError};
use super::upstream::{Dial, payload};
use crate::body;
use crate::cors::{self, Cors};
use crate::hosts::Hosts;
use crate::limits;
use crate::process;
use crate::response::{self, HttpResponse, to_json};
use crate::server::{Handler, Never, Payload, Peer, Reply};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Hop-by-hop headers.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    EXPECT,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("proxy-connection"),
];

/// Settings of a proxy.
#[derive(Clone, Debug)]
pub struct ProxySettings {
    /// `-proxy readonly`.
    pub read_only: bool,
    /// Peers to query for the members, from flags or discovery; saved peers take precedence.
    pub peer_urls: Vec<String>,
    pub failure_wait: Duration,
    pub refresh_interval: Duration,
    pub dial: Dial,
    /// `DATA/proxy/cluster`; nothing is saved if `None`.
    pub saved: Option<PathBuf>,
    pub cors: Cors,
    pub hosts: Hosts,
}

/// Why a proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy's saved cluster")]
    Saved(#[from] SavedError),
}

/// Forwards requests to the first available member.
#[derive(Debug)]
pub struct Proxy {
    settings: ProxySettings,
    endpoints: Endpoints,
    peer_urls: Mutex<Vec<String>>,
}

impl Proxy {
    /// Starts the proxy with its refresh task, which exits with it. Requires a tokio runtime.
    pub fn start(settings: ProxySettings) -> Result<Arc<Proxy>, ProxyError> {
        let previous = settings.saved.as_deref().map(saved::load).transpose()?.flatten();
        let peer_urls = previous.filter(|urls| !urls.is_empty()).unwrap_or(settings.peer_urls.clone());
        let endpoints = Endpoints::default();
        let proxy = Arc::new(Proxy { settings, endpoints, peer_urls: Mutex::new(peer_urls) });
        let weak = Arc::downgrade(&proxy);
        tokio::spawn(async move {
            while let Some(proxy) = Weak::upgrade(&weak) {
                proxy.refresh().await;
                let pause = if proxy.endpoints.is_empty() {
                    limits::PROXY_REFRESH_EMPTY.min(proxy.settings.refresh_interval)
                } else {
                    proxy.settings.refresh_interval
                };
                drop(proxy);
                sleep(pause).await;
            }
        });
        Ok(proxy)
    }

    /// Queries the peers in turn until one returns the members. If none does, the endpoints remain.
    async fn refresh(&self) {
        let peers = self.peer_urls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for peer in &peers {
            match fetch_members(peer, &self.settings.dial).await {
                Ok(members) => {
                    let clients = members.iter().flat_map(|member| member.client_urls.iter().cloned());
                    let clients: Vec<String> = clients.take(limits::MAX_PROXY_ENDPOINTS).collect();
                    let new = members.into_iter().flat_map(|member| member.peer_urls);
                    self.update_peers(&peers, new.take(limits::MAX_PROXY_ENDPOINTS).collect());
                    self.endpoints.replace(&clients);
                    return;
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a peer does not tell the members"
                ),
            }
        }
    }

    fn update_peers(&self, previous: &[String], mut new: Vec<String>) {
        new.sort();
        if new.is_empty() || new == previous {
            return;
        }
        if let Some(path) = &self.settings.saved
            && let Err(error) = saved::save(path, &new)
        {
            tracing::error!(error = &error as &dyn std::error::Error, "the cluster is not saved");
        }
        *self.peer_urls.lock().unwrap_or_else(PoisonError::into_inner) = new;
    }

    async fn serve(&self, peer: Peer, request: Request<Incoming>) -> HttpResponse {
        match request.uri().path() {
            "/v2/config/local/proxy" if request.method() != Method::GET => {
                return response::wrong_method("GET");
            }
            "/v2/config/local/proxy" => {
                let urls = to_json(&self.endpoints.urls());
                return response::json(format!("{{\"endpoints\":{urls}}}\n"));
            }
            "/metrics" => return metrics(),
            _ => {}
        }
        if self.settings.read_only && request.method() != Method::GET {
            return response::no_content(StatusCode::NOT_IMPLEMENTED);
        }
        let (mut parts, incoming) = request.into_parts();
        let body = match body::read(incoming).await {
            Ok(body) => body,
            Err(error) => {
                let error = response::form_error(error.to_string());
                return response::with(
                    StatusCode::BAD_REQUEST,
                    response::JSON,
                    Bytes::from(error.to_json_line()),
                );
            }
        };
        remove_hop_by_hop(&mut parts.headers);
        // The body has been read completely; hyper sets its length.
        parts.headers.remove(CONTENT_LENGTH);
        add_forwarded_for(&mut parts.headers, peer);
        self.forward(&parts, &body).await
    }

    async fn forward(&self, parts: &Parts, body: &Bytes) -> HttpResponse {
        let available = self.endpoints.available(self.settings.failure_wait);
        if available.is_empty() {
            let text = "proxy: zero endpoints currently available";
            return response::message(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        for upstream in &available {
            match upstream.send(&self.settings.dial, || upstream_request(parts, body, &upstream.url)).await {
                Ok(response) => return forward_response(response),
                Err(error) => {
                    tracing::info!(
                        error = &error as &dyn std::error::Error,
                        "a member does not respond; trying the next"
                    );
                    upstream.mark_failed();
                }
            }
        }
        let text = format!("proxy: unable to get response from {} endpoint(s)", available.len());
        response::message(StatusCode::BAD_GATEWAY, &text)
    }
}

impl Handler for Proxy {
    type Chunks = Never;

    async fn handle(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Reply<Never> {
        if let Some(refused) = self.settings.hosts.refuse(peer, &request) {
            return Reply::Response(refused);
        }
        let origin = self.settings.cors.allowed(request.headers());
        let mut response = match *request.method() {
            Method::OPTIONS => response::no_content(StatusCode::OK),
            _ => self.serve(peer, request).await,
        };
        if let Some(origin) = origin {
            cors::add(response.headers_mut(), origin);
        }
        Reply::Response(response)
    }

    fn serves_half_closed(&self) -> bool {
        false
    }
}

/// The request to a member.
fn upstream_request(parts: &Parts, body: &Bytes, url: &str) -> Request<Payload> {
    let mut request = Request::new(payload(body));
    *request.method_mut() = parts.method.clone();
    // Origin form, whatever form the client used.
    let target = parts.uri.path_and_query().map(|target| Uri::from(target.clone()));
    *request.uri_mut() = target.unwrap_or_default();
    *request.headers_mut() = parts.headers.clone();
    // The member's: it does not know the proxy's names.
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

fn forward_response(response: Response<Incoming>) -> HttpResponse {
    let (mut parts, body) = response.into_parts();
    remove_hop_by_hop(&mut parts.headers);
    Response::from_parts(parts, Payload::Forwarded(body))
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn add_forwarded_for(headers: &mut HeaderMap, peer: Peer) {
    let mut hops: Vec<String> = Vec::new();
    for value in headers.get_all(FORWARDED_FOR) {
        hops.push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    hops.push(peer.address.ip().to_canonical().to_string());
    if let Ok(value) = HeaderValue::from_str(&hops.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// The proxy's own metrics.
fn metrics() -> HttpResponse {
    let usage = process::Usage::now();
    let lines = [
        ("process_cpu_seconds_total", "counter", usage.cpu_seconds),
        ("process_open_fds", "gauge", usage.open_files as f64),
        ("process_resident_memory_bytes", "gauge", usage.resident_bytes as f64),
        ("process_start_time_seconds", "gauge", usage.started),
    ];
    let lines = lines.map(|(name, kind, value)| format!("# TYPE {name} {kind}\n{name} {value}\n"));
    response::with(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4"), lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("authorization", "Basic x"),
            ("x-forwarded-for", "10.0.0.1"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let address = "[::ffff:10.0.0.2]:99".parse().unwrap();
        add_forwarded_for(&mut headers, Peer { address, secure: false });
        let mut left: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["authorization=Basic x", "x-forwarded-for=10.0.0.1, 10.0.0.2"]);
    }
}
