//! Routing. There are two front ends over one back end: for client and for peer ports.

use std::borrow::Cow;
use std::sync::Arc;

use etcd_api::{RequestPath, keys_path, to_text};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};

use crate::backend::Backend;
use crate::context::{Context, Settings};
use crate::fixed_paths::{FixedPath, Resource};
use crate::response::{self, HttpResponse};
use crate::server::{Handler, Never, Peer, Reply};
use crate::watch::WatchChunks;
use crate::{cors, information, keys, members, roles, statistics, users, v1};

/// The client API over a back end.
pub struct Front<B>(Arc<Context<B>>);

/// The API of the peer port for joining members and proxies.
pub struct PeerFront<B>(Arc<Context<B>>);

impl<B: Backend> Front<B> {
    /// `backend` must know the cluster id.
    pub fn new(backend: B, settings: Settings) -> Result<Front<B>, prometheus::Error> {
        Context::new(backend, settings).map(|context| Front(Arc::new(context)))
    }

    pub fn for_peers(&self) -> PeerFront<B> {
        PeerFront(Arc::clone(&self.0))
    }
}

/// The decoded path; usually borrowed. Returns a response if there is nothing to route.
fn decode(request: &Request<Incoming>) -> Result<Cow<'_, [u8]>, HttpResponse> {
    let raw = request.uri().path();
    let odd = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.');
    if raw.starts_with('/') && !raw.contains('%') && !raw.as_bytes().windows(2).any(odd) {
        return Ok(Cow::Borrowed(raw.as_bytes()));
    }
    match RequestPath::parse(raw, request.uri().query()) {
        RequestPath::Clean(path) => Ok(Cow::Owned(path)),
        RequestPath::Malformed => Err(response::plain_error(StatusCode::BAD_REQUEST, "400 Bad Request\n")),
        RequestPath::Redirect { location } => {
            let mut response = response::no_content(StatusCode::MOVED_PERMANENTLY);
            match HeaderValue::from_str(&location) {
                Ok(location) => drop(response.headers_mut().insert(LOCATION, location)),
                Err(_) => response = response::plain_error(StatusCode::BAD_REQUEST, "400 Bad Request\n"),
            }
            Err(response)
        }
    }
}

impl<B: Backend> Handler for Front<B> {
    type Chunks = WatchChunks<B::Watch>;

    async fn handle(self: Arc<Self>, peer: Peer, request: Request<Incoming>) -> Reply<Self::Chunks> {
        let context = &*self.0;
        if let Some(refused) = context.settings.hosts.refuse(peer, &request) {
            return Reply::Response(refused);
        }
        if context.settings.cors.is_off() && request.method() != Method::OPTIONS {
            return route(context, request).await;
        }
        let origin = context.settings.cors.allowed(request.headers());
        let mut reply = match *request.method() {
            Method::OPTIONS => Reply::Response(response::no_content(StatusCode::OK)),
            _ => route(context, request).await,
        };
        if let Some(origin) = origin {
            match &mut reply {
                Reply::Response(response) => cors::add(response.headers_mut(), origin),
                Reply::Stream(head, _) => cors::add(head.headers_mut(), origin),
                Reply::Upgrade(..) => {}
            }
        }
        reply
    }
}

async fn route<B: Backend>(context: &Context<B>, request: Request<Incoming>) -> Reply<WatchChunks<B::Watch>> {
    let path = match decode(&request) {
        Ok(path) => path.into_owned(),
        Err(response) => return Reply::Response(response),
    };
    if keys_path(&path).is_some() {
        return keys::serve(context, &path, request).await;
    }
    if is_below(&path, v1::WATCH) {
        return v1::watch(context, &path, request).await;
    }
    Reply::Response(if is_below(&path, v1::KEYS) {
        v1::keys(context, &path, request).await
    } else if is_below(&path, members::PREFIX) {
        members::serve(context, &path, request).await
    } else if path.starts_with(b"/v2/auth/") {
        let response = auth(context, &path, request).await;
        context.in_cluster(response.unwrap_or_else(|refused| refused))
    } else {
        fixed_path(context, &path, request).await
    })
}

/// Whether `path` is `prefix` or below it.
fn is_below(path: &[u8], prefix: &str) -> bool {
    path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

async fn auth<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> Result<HttpResponse, HttpResponse> {
    let path = to_text(path);
    let method = request.method().clone();
    let is_known = |path: &str| {
        path == "/v2/auth/enable" || path.starts_with("/v2/auth/users") || path.starts_with("/v2/auth/roles")
    };
    if !is_known(&path) {
        return Err(response::not_found());
    }
    context.check_root(request.headers()).await?;
    let named = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
    match path.as_str() {
        "/v2/auth/enable" => users::enable(context, &method).await,
        "/v2/auth/users" | "/v2/auth/users/" => users::list(context, &method),
        "/v2/auth/roles" | "/v2/auth/roles/" => roles::list(context, &method),
        _ => match (named("/v2/auth/users/"), named("/v2/auth/roles/")) {
            (Some(name), _) if !name.contains('/') => users::user(context, request, &name).await,
            (None, Some(name)) if !name.contains('/') => roles::role(context, request, &name).await,
            _ => Err(response::not_found()),
        },
    }
}

/// Endpoints with a fixed path.
async fn fixed_path<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> HttpResponse {
    let Some(fixed) = FixedPath::find(path) else { return response::not_found() };
    if !fixed.allows(request.method()) {
        return response::wrong_method(fixed.allow);
    }
    match fixed.resource {
        Resource::Version => information::version(context),
        Resource::Health => information::health(context).await,
        Resource::Metrics => information::metrics(context),
        Resource::Variables => statistics::vars(context),
        Resource::LogLevel => statistics::log_level(context, request).await,
        Resource::OwnStatistics => statistics::self_statistics(context),
        Resource::LeaderStatistics => statistics::leader(context),
        Resource::StoreStatistics => statistics::store(context),
        Resource::Leader => information::leader(context),
        Resource::Machines => information::machines(context),
    }
}

impl<B: Backend> Handler for PeerFront<B> {
    type Chunks = Never;

    async fn handle(self: Arc<Self>, _: Peer, request: Request<Incoming>) -> Reply<Never> {
        let context = &*self.0;
        Reply::Response(match request.uri().path() {
            "/members" | "/version" if request.method() != Method::GET => response::wrong_method("GET"),
            "/members" => information::peer_members(context),
            "/version" => information::version(context),
            _ => response::not_found(),
        })
    }
}
