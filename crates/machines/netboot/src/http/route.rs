//! Request routing.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue};
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::task::spawn_blocking;

use crate::dhcp::reply::SCRIPT_PATH;
use crate::http::download::download;
use crate::http::response::{HttpResponse, TEXT, content_response, text};
use crate::http::{page, status};
use crate::progress::{Stage, Step};
use crate::query::Query;
use crate::script;
use crate::server::{Reported, Server};

const JSON: &str = "application/json";

/// Headers of every response.
const HEADERS: [(&str, &str); 3] = [
    ("content-security-policy", page::POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// What a path is for.
enum Endpoint {
    /// What iPXE runs first.
    First,
    /// What iPXE runs for this machine.
    Script,
    UserData,
    /// A machine reports a step.
    Report(Stage),
    File(String),
    Status,
    Page(&'static str, &'static str),
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        if let Some(name) = path.strip_prefix("/files/") {
            let name = percent_decode_str(name).decode_utf8().ok()?;
            return Some(Self::File(name.into_owned()));
        }
        match path {
            SCRIPT_PATH => Some(Self::First),
            "/ipxe" => Some(Self::Script),
            "/user-data" => Some(Self::UserData),
            "/installed" => Some(Self::Report(Stage::Installed)),
            "/ready" => Some(Self::Report(Stage::Ready)),
            "/status.json" => Some(Self::Status),
            path => page::file(path).map(|(kind, content)| Self::Page(kind, content)),
        }
    }
}

/// Responds to a request of `from`.
pub async fn route(server: Arc<Server>, request: Request<Incoming>, from: IpAddr) -> HttpResponse {
    let path = request.uri().path();
    let mut response = match Endpoint::at(path) {
        None => text(StatusCode::NOT_FOUND, "not found\n"),
        Some(endpoint) => {
            let is_report = matches!(endpoint, Endpoint::Report(_));
            let allowed = if is_report { "POST" } else { "GET, HEAD" };
            let is_read = [Method::GET, Method::HEAD].contains(request.method());
            if if is_report { request.method() == Method::POST } else { is_read } {
                respond(&server, endpoint, &request, from).await
            } else {
                let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, format!("supports {allowed} only\n"));
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                refused
            }
        }
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn respond(
    server: &Arc<Server>,
    endpoint: Endpoint,
    request: &Request<Incoming>,
    from: IpAddr,
) -> HttpResponse {
    match endpoint {
        Endpoint::First => text(StatusCode::OK, script::first(server.url())),
        Endpoint::Page(kind, content) => content_response(StatusCode::OK, kind, content),
        Endpoint::File(name) => download(server, &name, request.method(), request.headers(), from).await,
        Endpoint::Status => content_response(StatusCode::OK, JSON, format!("{:#}\n", status::status(server))),
        Endpoint::Script | Endpoint::UserData | Endpoint::Report(_) => {
            let query = match Query::parse(request.uri().query().unwrap_or_default()) {
                Ok(query) => query,
                Err(error) => {
                    let message = service::error::chain(&error);
                    return text(StatusCode::BAD_REQUEST, format!("{message}\n"));
                }
            };
            let server = server.clone();
            // Reads files.
            let response = spawn_blocking(move || of_machine(&server, &endpoint, &query, from));
            response.await.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
        }
    }
}

fn of_machine(server: &Server, endpoint: &Endpoint, query: &Query, from: IpAddr) -> HttpResponse {
    match endpoint {
        Endpoint::Script => text(StatusCode::OK, server.script(query, from)),
        Endpoint::Report(stage) => report(server, query, *stage),
        _ => user_data(server, query, from),
    }
}

fn user_data(server: &Server, query: &Query, from: IpAddr) -> HttpResponse {
    match server.user_data(query) {
        Ok(Some(bytes)) => {
            if let Some(mac) = query.mac {
                let step = Step { stage: Stage::Config, detail: "", is_first: false, from: Some(from) };
                server.record(mac, &step);
            }
            content_response(StatusCode::OK, TEXT, bytes)
        }
        Ok(None) => text(StatusCode::NOT_FOUND, "no rule has user-data for this machine\n"),
        // Its path is the operator's business.
        Err(error) => {
            tracing::error!(error = &error as &dyn Error, "cannot read user-data");
            text(StatusCode::INTERNAL_SERVER_ERROR, "cannot read the user-data: see the server's log\n")
        }
    }
}

fn report(server: &Server, query: &Query, stage: Stage) -> HttpResponse {
    match server.reported(query, stage) {
        Reported::Yes => text(StatusCode::OK, "recorded\n"),
        Reported::NoMac => text(StatusCode::BAD_REQUEST, "parameter mac is missing\n"),
        Reported::NoRule => text(StatusCode::CONFLICT, "no rule installs this machine\n"),
        Reported::Failed(error) => {
            tracing::error!(error = &error as &dyn Error, "a machine is not recorded as installed");
            text(StatusCode::INSUFFICIENT_STORAGE, "cannot record the machine: see the server's log\n")
        }
    }
}
