//! The API over a unix socket, or TCP, answered from the model.

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

/// How the server behaves beside what its model says.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Items of a page.
    pub page: u16,
    /// Answers each request so.
    pub refusal: Option<(u16, String)>,
    /// But the first ones, as many as had been seen by then.
    pub accepted: usize,
    /// Lacks the additions.
    pub original: bool,
}

#[derive(Clone)]
pub struct Server {
    pub model: Arc<Mutex<Model>>,
    pub manner: Arc<Mutex<Manner>>,
    /// Each request's method and target.
    pub seen: Arc<Mutex<Vec<String>>>,
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
            manner: Arc::new(Mutex::new(Manner { page: 100, refusal: None, accepted: 0, original: false })),
            seen: Arc::default(),
            socket,
            address: tcp.local_addr().unwrap(),
        };
        let served = server.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                listener.set_nonblocking(true).unwrap();
                tcp.set_nonblocking(true).unwrap();
                let listener = UnixListener::from_std(listener).unwrap();
                let tcp = TcpListener::from_std(tcp).unwrap();
                loop {
                    tokio::select! {
                        Ok((stream, _)) = listener.accept() => served.clone().serve(stream),
                        Ok((stream, _)) = tcp.accept() => served.clone().serve(stream),
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
            let service = service_fn(move |request| self.clone().answer(request));
            // A client that has said all may still read.
            let served = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            // A client may go away at any time.
            drop(served.await);
        });
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(format!("{} {}", head.method, head.uri));
            seen.len()
        };
        let manner = self.manner.lock().unwrap().clone();
        let (code, text) = match manner.refusal.filter(|_| number > manner.accepted) {
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
                let asked =
                    Asked { method: head.method.as_str(), query: query(head.uri.query()), body: &body };
                let answered = match &parts[..] {
                    ["fleet", "v1", rest @ ..] => self.original(rest, &asked, manner.page),
                    ["keelson", "v1", rest @ ..] if !manner.original => self.addition(rest, &asked),
                    _ => Err(ErrorDocument::new(404, "")),
                };
                answered.unwrap_or_else(|refusal| (refusal.error.code, encode(&refusal).unwrap()))
            }
        };
        let answer = Response::builder().status(code).header("Content-Type", "application/json");
        Ok(answer.body(Full::new(Bytes::from(text))).unwrap())
    }

    fn original(&self, parts: &[&str], asked: &Asked<'_>, page: u16) -> Answer {
        let mut model = self.model.lock().unwrap();
        let token = || {
            PageToken::from_query(asked.values("nextPageToken"), page)
                .map_err(|error| ErrorDocument::new(400, error.to_string()))
        };
        let next = |token: Option<PageToken>| token.map(PageToken::encode).unwrap_or_default();
        let missing = || ErrorDocument::new(404, "unit does not exist");
        match (asked.method, parts) {
            ("GET", ["units"]) => {
                let names: Vec<String> = model.units.keys().cloned().collect();
                names.iter().for_each(|name| model.look(name));
                let all: Vec<_> = names.iter().filter_map(|name| model.shown(name)).collect();
                let (units, after) = paginate(&all, token()?);
                said(200, &UnitPage { next_page_token: next(after), units: units.to_vec() })
            }
            ("GET", ["units", name]) => {
                model.look(name);
                said(200, &model.shown(name).ok_or_else(missing)?)
            }
            ("PUT", ["units", name]) => Ok((put(&mut model, name, asked.body)?, String::new())),
            ("DELETE", ["units", name]) => match model.destroy(name) {
                true => Ok((204, String::new())),
                false => Err(missing()),
            },
            ("GET", ["state"]) => {
                let mut all = model.states();
                let unit = asked.values("unitName").next();
                all.retain(|state| unit.is_none_or(|unit| state.name == unit));
                let (states, after) = paginate(&all, token()?);
                said(200, &UnitStatePage { next_page_token: next(after), states: states.to_vec() })
            }
            ("GET", ["machines"]) => {
                let (machines, after) = paginate(&model.machines, token()?);
                said(200, &MachinePage { next_page_token: next(after), machines: machines.to_vec() })
            }
            _ => Err(ErrorDocument::new(404, "")),
        }
    }

    fn addition(&self, parts: &[&str], asked: &Asked<'_>) -> Answer {
        let mut model = self.model.lock().unwrap();
        let missing = || ErrorDocument::new(404, "unit does not exist");
        let bad = |error: fleet_api::DecodeError| ErrorDocument::new(400, error.to_string());
        match (asked.method, parts) {
            ("GET", ["units"]) => {
                let mut names: Vec<&str> = asked.values("name").collect();
                names.sort_unstable();
                names.iter().for_each(|name| model.look(name));
                let units = names.iter().filter_map(|name| model.shown(name)).collect();
                said(200, &UnitPage { units, ..UnitPage::default() })
            }
            ("GET", ["units", name, "explanation"]) => {
                model.units.get(*name).ok_or_else(missing)?;
                said(200, &model.explain(name))
            }
            ("GET", ["units", name, "status"]) => {
                let unit = model.shown(name).ok_or_else(missing)?;
                let status = MachineStatus {
                    exit_code: if unit.current_state == "launched" { 0 } else { 3 },
                    machine_id: unit.machine_id,
                    output: format!("● {name}\n     Active: {}\n", unit.current_state),
                };
                said(200, &StatusReport { statuses: vec![status] })
            }
            ("GET", ["units", name, "journal"]) => {
                model.units.get(*name).ok_or_else(missing)?;
                let lines = asked.values("lines").next().unwrap_or_default();
                Ok((200, format!("the last {lines} lines of {name}\n")))
            }
            ("POST", ["plan"]) => {
                let request: PlanRequest = decode(asked.body).map_err(bad)?;
                said(200, &model.plan(&request.units))
            }
            ("POST", ["rebalance"]) => {
                let request: RebalanceRequest = decode(asked.body).map_err(bad)?;
                assert!(request.dry_run, "the model moves nothing");
                said(200, &fleet_api::additions::Plan::default())
            }
            ("PUT", ["machines", id, "cordon"]) => {
                let request: CordonRequest = decode(asked.body).map_err(bad)?;
                match model.set_cordon(id, request.cordon) {
                    true => Ok((204, String::new())),
                    false => Err(ErrorDocument::new(404, "machine does not exist")),
                }
            }
            _ => Err(ErrorDocument::new(404, "")),
        }
    }
}

type Answer = Result<(u16, String), ErrorDocument>;

fn said<T: serde::Serialize>(code: u16, value: &T) -> Answer {
    Ok((code, encode(value).unwrap()))
}

struct Asked<'a> {
    method: &'a str,
    query: Vec<(String, String)>,
    body: &'a [u8],
}

impl Asked<'_> {
    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn query(text: Option<&str>) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let pairs = text.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key), decoded(value))).collect()
}
