//! From a path to its endpoint. Two fronts over one back end: the clients' ports, and the peers'.

use std::borrow::Cow;
use std::sync::Arc;

use etcd_api::{RequestPath, keys_path, to_text};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};

use crate::answer::{self, Answer};
use crate::backend::Backend;
use crate::context::{Context, Settings};
use crate::server::{Handler, Never, Peer, Reply};
use crate::watch::WatchChunks;
use crate::{cors, information, keys, members, roles, statistics, users, v1};

/// Endpoints that are asked by HEAD too: few are.
const WITH_HEAD: &str = "GET,HEAD";
const GET_ALONE: &str = "GET";

/// The clients' interface over a back end.
pub struct Front<B>(Arc<Context<B>>);

/// What the peers' port serves to who joins and to proxies.
pub struct PeerFront<B>(Arc<Context<B>>);

impl<B: Backend> Front<B> {
    /// The cluster's id must be known to `backend` by now.
    pub fn new(backend: B, settings: Settings) -> Result<Front<B>, prometheus::Error> {
        Context::new(backend, settings).map(|context| Front(Arc::new(context)))
    }

    pub fn for_peers(&self) -> PeerFront<B> {
        PeerFront(Arc::clone(&self.0))
    }
}

/// The decoded path; most need no decoding. An answer where there is nothing to route.
fn decode(request: &Request<Incoming>) -> Result<Cow<'_, [u8]>, Answer> {
    let raw = request.uri().path();
    let odd = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    if raw.starts_with('/') && !raw.contains('%') && !raw.as_bytes().windows(2).any(odd) {
        return Ok(Cow::Borrowed(raw.as_bytes()));
    }
    match RequestPath::parse(raw, request.uri().query()) {
        RequestPath::Clean(path) => Ok(Cow::Owned(path)),
        RequestPath::Malformed => Err(answer::plain_error(StatusCode::BAD_REQUEST, "400 Bad Request\n")),
        RequestPath::Redirect { location } => {
            let mut answer = answer::no_content(StatusCode::MOVED_PERMANENTLY);
            match HeaderValue::from_str(&location) {
                Ok(location) => drop(answer.headers_mut().insert(LOCATION, location)),
                Err(_) => answer = answer::plain_error(StatusCode::BAD_REQUEST, "400 Bad Request\n"),
            }
            Err(answer)
        }
    }
}

impl<B: Backend> Handler for Front<B> {
    type Chunks = WatchChunks<B::Watch>;

    async fn handle(self: Arc<Self>, _: Peer, request: Request<Incoming>) -> Reply<Self::Chunks> {
        let context = &*self.0;
        if context.settings.cors.is_off() && request.method() != Method::OPTIONS {
            return route(context, request).await;
        }
        let origin = context.settings.cors.allowed(request.headers());
        let mut reply = match *request.method() {
            Method::OPTIONS => Reply::Answer(answer::no_content(StatusCode::OK)),
            _ => route(context, request).await,
        };
        if let Some(origin) = origin {
            match &mut reply {
                Reply::Answer(answer) => cors::add(answer.headers_mut(), origin),
                Reply::Follow(head, _) => cors::add(head.headers_mut(), origin),
                Reply::Upgrade(..) => {}
            }
        }
        reply
    }
}

async fn route<B: Backend>(context: &Context<B>, request: Request<Incoming>) -> Reply<WatchChunks<B::Watch>> {
    let path = match decode(&request) {
        Ok(path) => path.into_owned(),
        Err(answer) => return Reply::Answer(answer),
    };
    if keys_path(&path).is_some() {
        return keys::serve(context, &path, request).await;
    }
    if below(&path, v1::WATCH) {
        return v1::watch(context, &path, request).await;
    }
    Reply::Answer(if below(&path, v1::KEYS) {
        v1::keys(context, &path, request).await
    } else if below(&path, members::PREFIX) {
        members::serve(context, &path, request).await
    } else if path.starts_with(b"/v2/auth/") {
        let answer = auth(context, &path, request).await;
        context.in_cluster(answer.unwrap_or_else(|refused| refused))
    } else {
        other(context, &path, request).await
    })
}

/// Whether a path is `prefix` or below it.
fn below(path: &[u8], prefix: &str) -> bool {
    path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

async fn auth<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> Result<Answer, Answer> {
    let path = to_text(path);
    let method = request.method().clone();
    let is_known = |path: &str| {
        path == "/v2/auth/enable" || path.starts_with("/v2/auth/users") || path.starts_with("/v2/auth/roles")
    };
    if !is_known(&path) {
        return Err(answer::not_found());
    }
    context.check_root(request.headers()).await?;
    let named = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    match path.as_str() {
        "/v2/auth/enable" => users::switch(context, &method).await,
        "/v2/auth/users" | "/v2/auth/users/" => users::list(context, &method),
        "/v2/auth/roles" | "/v2/auth/roles/" => roles::list(context, &method),
        _ => match (named("/v2/auth/users/"), named("/v2/auth/roles/")) {
            (Some(name), _) if !name.contains('/') => users::one(context, request, &name).await,
            (None, Some(name)) if !name.contains('/') => roles::one(context, request, &name).await,
            _ => Err(answer::not_found()),
        },
    }
}

/// Endpoints with one fixed path.
async fn other<B: Backend>(context: &Context<B>, path: &[u8], request: Request<Incoming>) -> Answer {
    let (get, head) = (request.method() == Method::GET, request.method() == Method::HEAD);
    match path {
        b"/config/local/log" if request.method() == Method::PUT => {
            statistics::log_level(context, request).await
        }
        b"/config/local/log" => answer::wrong_method("PUT"),
        // What scrapes it may ask as it likes.
        b"/metrics" => information::metrics(context),
        _ if !is_read_only(path) => answer::not_found(),
        _ if takes_head(path) && !get && !head => answer::wrong_method(WITH_HEAD),
        _ if !takes_head(path) && !get => answer::wrong_method(GET_ALONE),
        b"/version" => information::version(context),
        b"/health" => information::health(context).await,
        b"/debug/vars" => statistics::vars(context),
        b"/v2/stats/self" | b"/v1/stats/self" => statistics::own(context),
        b"/v2/stats/leader" | b"/v1/stats/leader" => statistics::leader(context),
        b"/v2/stats/store" | b"/v1/stats/store" => statistics::store(context),
        b"/v2/leader" | b"/v1/leader" => information::leader(context),
        _ => information::machines(context),
    }
}

/// The part of a path that v1 and v2 have in common.
fn of_any_version(path: &[u8]) -> Option<&[u8]> {
    path.strip_prefix(b"/v1/").or_else(|| path.strip_prefix(b"/v2/"))
}

fn is_read_only(path: &[u8]) -> bool {
    matches!(of_any_version(path), Some(b"stats/self" | b"stats/leader" | b"stats/store"))
        || takes_head(path)
        || matches!(path, b"/version" | b"/health" | b"/debug/vars")
}

fn takes_head(path: &[u8]) -> bool {
    matches!(of_any_version(path), Some(b"machines" | b"peers" | b"leader"))
}

impl<B: Backend> Handler for PeerFront<B> {
    type Chunks = Never;

    async fn handle(self: Arc<Self>, _: Peer, request: Request<Incoming>) -> Reply<Never> {
        let context = &*self.0;
        Reply::Answer(match request.uri().path() {
            "/members" | "/version" if request.method() != Method::GET => answer::wrong_method(GET_ALONE),
            "/members" => information::peer_members(context),
            "/version" => information::version(context),
            _ => answer::not_found(),
        })
    }
}
