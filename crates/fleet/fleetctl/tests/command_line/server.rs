//! Serves the API of the model over a Unix socket and TCP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fleet_api::additions::{CordonRequest, MachineStatus, PlanRequest, RebalanceRequest, StatusReport};
use fleet_api::{ErrorDocument, MachinePage, PageToken, UnitPage, UnitStatePage, decode, encode, paginate};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};

use crate::model::Model;
use crate::put::put;

/// Behavior of the server besides its model.
#[derive(Debug, Clone)]
pub struct Behavior {
    /// Items per page.
    pub page: u16,
    /// Status and body of the response to every request.
    pub refusal: Option<(u16, String)>,
    /// Number of requests before `refusal` applies.
    pub accepted_requests: usize,
    /// Lacks the extensions.
    pub original: bool,
}

#[derive(Clone)]
pub struct Server {
    pub model: Arc<Mutex<Model>>,
    pub behavior: Arc<Mutex<Behavior>>,
    /// Method and target of each request.
    pub requests: Arc<Mutex<Vec<String>>>,
    pub socket: PathBuf,
    pub address: SocketAddr,
}

impl Server {
    /// Runs until the test's process ends.
    pub fn start(folder: &Path, model: Model) -> Server {
        let socket = folder.join("fleet.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            model: Arc::new(Mutex::new(model)),
            behavior: Arc::new(Mutex::new(Behavior {
                page: 100,
                refusal: None,
                accepted_requests: 0,
                original: false,
            })),
            requests: Arc::default(),
            socket,
            address: tcp.local_addr().unwrap(),
        };
        let shared = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                listener.set_nonblocking(true).unwrap();
                tcp.set_nonblocking(true).unwrap();
                let listener = UnixListener::from_std(listener).unwrap();
                let tcp = TcpListener::from_std(tcp).unwrap();
                loop {
                    tokio::select! {
                        Ok((stream, _)) = listener.accept() => shared.clone().serve(stream),
                        Ok((stream, _)) = tcp.accept() => shared.clone().serve(stream),
                    }
                }
            });
        });
        server
    }

    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn serve<S>(self, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        tokio::spawn(async move {
            let service = service_fn(move |request| self.clone().respond(request));
            // A client may close its sending side before it reads.
            let connection = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            // A client may disconnect at any time.
            drop(connection.await);
        });
    }

    async fn respond(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(format!("{} {}", head.method, head.uri));
            requests.len()
        };
        let behavior = self.behavior.lock().unwrap().clone();
        let (code, text) = match behavior.refusal.filter(|_| number > behavior.accepted_requests) {
            Some(refusal) => refusal,
            None => {
                let decoded: Vec<String> = head
                    .uri
                    .path()
                    .trim_start_matches('/')
                    .split('/')
                    .map(|part| {
                        percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned()
                    })
                    .collect();
                let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
                let request =
                    ApiRequest { method: head.method.as_str(), query: query(head.uri.query()), body: &body };
                let result = match &parts[..] {
                    ["fleet", "v1", rest @ ..] => self.original(rest, &request, behavior.page),
                    ["keelson", "v1", rest @ ..] if !behavior.original => self.extension(rest, &request),
                    _ => Err(ErrorDocument::new(404, "")),
                };
                result.unwrap_or_else(|refusal| (refusal.error.code, encode(&refusal).unwrap()))
            }
        };
        let response = Response::builder().status(code).header("Content-Type", "application/json");
        Ok(response.body(Full::new(Bytes::from(text))).unwrap())
    }

    fn original(&self, parts: &[&str], request: &ApiRequest<'_>, page: u16) -> ApiResult {
        let mut model = self.model.lock().unwrap();
        let token = || {
            PageToken::from_query(request.values("nextPageToken"), page)
                .map_err(|error| ErrorDocument::new(400, error.to_string()))
        };
        let next = |token: Option<PageToken>| token.map(PageToken::encode).unwrap_or_default();
        let not_found = || ErrorDocument::new(404, "unit does not exist");
        match (request.method, parts) {
            ("GET", ["units"]) => {
                let names: Vec<String> = model.units.keys().cloned().collect();
                names.iter().for_each(|name| model.poll(name));
                let all: Vec<_> = names.iter().filter_map(|name| model.unit(name)).collect();
                let (units, next_page) = paginate(&all, token()?);
                reply(200, &UnitPage { next_page_token: next(next_page), units: units.to_vec() })
            }
            ("GET", ["units", name]) => {
                model.poll(name);
                reply(200, &model.unit(name).ok_or_else(not_found)?)
            }
            ("PUT", ["units", name]) => Ok((put(&mut model, name, request.body)?, String::new())),
            ("DELETE", ["units", name]) => match model.destroy(name) {
                true => Ok((204, String::new())),
                false => Err(not_found()),
            },
            ("GET", ["state"]) => {
                let mut all = model.states();
                let unit = request.values("unitName").next();
                all.retain(|state| unit.is_none_or(|unit| state.name == unit));
                let (states, next_page) = paginate(&all, token()?);
                reply(200, &UnitStatePage { next_page_token: next(next_page), states: states.to_vec() })
            }
            ("GET", ["machines"]) => {
                let (machines, next_page) = paginate(&model.machines, token()?);
                reply(200, &MachinePage { next_page_token: next(next_page), machines: machines.to_vec() })
            }
            _ => Err(ErrorDocument::new(404, "")),
        }
    }

    fn extension(&self, parts: &[&str], request: &ApiRequest<'_>) -> ApiResult {
        let mut model = self.model.lock().unwrap();
        let not_found = || ErrorDocument::new(404, "unit does not exist");
        let bad = |error: fleet_api::DecodeError| ErrorDocument::new(400, error.to_string());
        match (request.method, parts) {
            ("GET", ["units"]) => {
                let mut names: Vec<&str> = request.values("name").collect();
                names.sort_unstable();
                names.iter().for_each(|name| model.poll(name));
                let units = names.iter().filter_map(|name| model.unit(name)).collect();
                reply(200, &UnitPage { units, ..UnitPage::default() })
            }
            ("GET", ["units", name, "explanation"]) => {
                model.units.get(*name).ok_or_else(not_found)?;
                reply(200, &model.explain(name))
            }
            ("GET", ["units", name, "status"]) => {
                let unit = model.unit(name).ok_or_else(not_found)?;
                let status = MachineStatus {
                    exit_code: if unit.current_state == "launched" { 0 } else { 3 },
                    machine_id: unit.machine_id,
                    output: format!("● {name}\n     Active: {}\n", unit.current_state),
                };
                reply(200, &StatusReport { statuses: vec![status] })
            }
            ("GET", ["units", name, "journal"]) => {
                model.units.get(*name).ok_or_else(not_found)?;
                let lines = request.values("lines").next().unwrap_or_default();
                Ok((200, format!("the last {lines} lines of {name}\n")))
            }
            ("POST", ["plan"]) => {
                let request: PlanRequest = decode(request.body).map_err(bad)?;
                reply(200, &model.plan(&request.units))
            }
            ("POST", ["rebalance"]) => {
                let request: RebalanceRequest = decode(request.body).map_err(bad)?;
                assert!(request.dry_run, "the model moves nothing");
                reply(200, &fleet_api::additions::Plan::default())
            }
            ("PUT", ["machines", id, "cordon"]) => {
                let request: CordonRequest = decode(request.body).map_err(bad)?;
                match model.set_cordon(id, request.cordon) {
                    true => Ok((204, String::new())),
                    false => Err(ErrorDocument::new(404, "machine does not exist")),
                }
            }
            _ => Err(ErrorDocument::new(404, "")),
        }
    }
}

type ApiResult = Result<(u16, String), ErrorDocument>;

fn reply<T: serde::Serialize>(code: u16, value: &T) -> ApiResult {
    Ok((code, encode(value).unwrap()))
}

struct ApiRequest<'a> {
    method: &'a str,
    query: Vec<(String, String)>,
    body: &'a [u8],
}

impl ApiRequest<'_> {
    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn query(text: Option<&str>) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs = text.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}
