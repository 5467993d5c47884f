//! State shared by all endpoints of a server.

use std::sync::Arc;

use etcd_api::{ApiError, ErrorCode, Key, Unavailable, format_id};
use etcd_store::Access;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};

use crate::backend::Backend;
use crate::cors::Cors;
use crate::credentials::{Credentials, Identity};
use crate::event_cache::EventCache;
use crate::hosts::Hosts;
use crate::metrics::Metrics;
use crate::response::{self, CLUSTER_ID, HttpResponse};

/// Settings of the front end.
#[derive(Clone)]
pub struct Settings {
    /// Server version at `/version`: must parse as 2.x.
    pub server_version: String,
    pub cors: Cors,
    /// Other names of this member than those of [`Hosts`] itself.
    pub hosts: Hosts,
    /// The command line, for `/debug/vars`.
    pub command_line: Vec<String>,
    /// Changes the log level; returns false for an unknown one.
    pub set_log_level: Option<SetLogLevel>,
    /// Additional registries for `/metrics`: log, disk, network.
    pub registries: Vec<prometheus::Registry>,
    /// Random key of the cache of verified passwords.
    pub secret: [u8; 32],
}

/// Called with `DEBUG`, `INFO`, `WARNING`, `ERROR`, or any other text of a client.
pub type SetLogLevel = Arc<dyn Fn(&str) -> bool + Send + Sync>;

pub(crate) struct Context<B> {
    pub(crate) backend: B,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) credentials: Credentials,
    pub(crate) cluster: HeaderValue,
    pub(crate) event_cache: Arc<EventCache>,
}

impl<B: Backend> Context<B> {
    pub(crate) fn new(backend: B, settings: Settings) -> Result<Context<B>, prometheus::Error> {
        let metrics = Metrics::new(settings.registries.clone())?;
        let id = format_id(backend.status().cluster_id);
        let cluster = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0"));
        let credentials = Credentials::new(settings.secret);
        let clock = backend.clone();
        let event_cache = Arc::new(EventCache::new(move || clock.now()));
        Ok(Context { backend, settings, metrics, credentials, cluster, event_cache })
    }

    /// Identifies the user of a request. Called only with authentication enabled.
    async fn identify(&self, headers: &HeaderMap) -> Identity {
        let stored =
            |name: &str| self.backend.read(|store| store.auth().user(name).map(|user| user.password.clone()));
        self.credentials.identify(headers, stored).await
    }

    /// Checks access to a key; error 110 if denied.
    pub(crate) async fn check_key(
        &self,
        headers: &HeaderMap,
        key: &Key,
        recursive: bool,
        access: Access,
    ) -> Result<(), ApiError> {
        if !self.backend.auth_enabled() {
            return Ok(());
        }
        let allows =
            |name: Option<&str>| self.backend.read(|store| store.auth().allows(name, key, recursive, access));
        let allowed = match self.identify(headers).await {
            Identity::Guest => allows(None),
            Identity::User(name) => allows(Some(&name)),
            Identity::Invalid => false,
        };
        let refused = || ApiError::invalid_request(ErrorCode::Unauthorized, "Insufficient credentials");
        allowed.then_some(()).ok_or_else(refused)
    }

    /// Checks access to users, roles and members; a 401 response if denied.
    pub(crate) async fn check_root(&self, headers: &HeaderMap) -> Result<(), HttpResponse> {
        if !self.backend.auth_enabled() {
            return Ok(());
        }
        let root = match self.identify(headers).await {
            Identity::User(name) => self.backend.read(|store| store.auth().is_root(Some(&name))),
            Identity::Guest | Identity::Invalid => false,
        };
        root.then_some(()).ok_or_else(|| {
            self.in_cluster(response::message(StatusCode::UNAUTHORIZED, "Insufficient credentials"))
        })
    }

    /// Adds the cluster id to a response.
    pub(crate) fn in_cluster(&self, mut response: HttpResponse) -> HttpResponse {
        response.headers_mut().insert(CLUSTER_ID, self.cluster.clone());
        response
    }

    pub(crate) fn api_error(&self, error: &ApiError) -> HttpResponse {
        response::api_error(error, &self.cluster)
    }
}

/// Error 300, which clients of keys get if there is no outcome.
pub(crate) fn unavailable(error: Unavailable) -> ApiError {
    ApiError::invalid_request(ErrorCode::RaftInternal, error.to_string())
}
