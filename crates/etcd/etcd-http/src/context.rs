//! What every endpoint needs, once a server.

use std::sync::Arc;

use etcd_api::{ApiError, ErrorCode, Key, Unavailable, format_id};
use etcd_store::Access;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};

use crate::answer::{self, Answer, CLUSTER_ID};
use crate::backend::Backend;
use crate::cors::Cors;
use crate::credentials::{Credentials, Who};
use crate::event_texts::EventTexts;
use crate::metrics::Metrics;

/// What the program decides about its front.
#[derive(Clone)]
pub struct Settings {
    /// What `/version` says of this server: must parse as 2.x.
    pub server_version: String,
    pub cors: Cors,
    /// The command line, for `/debug/vars`.
    pub command_line: Vec<String>,
    /// Sets the level of the log; false where there is no such level.
    pub set_log_level: Option<SetLogLevel>,
    /// Registries of the log, the disk and the network, shown in `/metrics` too.
    pub registries: Vec<prometheus::Registry>,
    /// Random bytes, for the memory of verified passwords.
    pub secret: [u8; 32],
}

/// Gets `DEBUG`, `INFO`, `WARNING`, `ERROR` or whatever a client sent.
pub type SetLogLevel = Arc<dyn Fn(&str) -> bool + Send + Sync>;

pub(crate) struct Context<B> {
    pub(crate) backend: B,
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) credentials: Credentials,
    pub(crate) cluster: HeaderValue,
    pub(crate) texts: Arc<EventTexts>,
}

impl<B: Backend> Context<B> {
    pub(crate) fn new(backend: B, settings: Settings) -> Result<Context<B>, prometheus::Error> {
        let metrics = Metrics::new(settings.registries.clone())?;
        let id = format_id(backend.status().cluster_id);
        let cluster = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("0"));
        let credentials = Credentials::new(settings.secret);
        let clock = backend.clone();
        let texts = Arc::new(EventTexts::new(move || clock.now()));
        Ok(Context { backend, settings, metrics, credentials, cluster, texts })
    }

    /// Who sends this. Asked only while authentication is on.
    async fn who(&self, headers: &HeaderMap) -> Who {
        let stored =
            |name: &str| self.backend.read(|store| store.auth().user(name).map(|user| user.password.clone()));
        self.credentials.who(headers, stored).await
    }

    /// Whether the request may do this to a key; error 110 where not.
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
        let allowed = match self.who(headers).await {
            Who::Guest => allows(None),
            Who::User(name) => allows(Some(&name)),
            Who::Nobody => false,
        };
        let refused = || ApiError::in_request(ErrorCode::Unauthorized, "Insufficient credentials");
        allowed.then_some(()).ok_or_else(refused)
    }

    /// Whether the request may change users, roles and members; a 401 where not.
    pub(crate) async fn check_root(&self, headers: &HeaderMap) -> Result<(), Answer> {
        if !self.backend.auth_enabled() {
            return Ok(());
        }
        let root = match self.who(headers).await {
            Who::User(name) => self.backend.read(|store| store.auth().is_root(Some(&name))),
            Who::Guest | Who::Nobody => false,
        };
        root.then_some(()).ok_or_else(|| {
            self.in_cluster(answer::message(StatusCode::UNAUTHORIZED, "Insufficient credentials"))
        })
    }

    /// The answer with the cluster's id.
    pub(crate) fn in_cluster(&self, mut answer: Answer) -> Answer {
        answer.headers_mut().insert(CLUSTER_ID, self.cluster.clone());
        answer
    }

    pub(crate) fn api_error(&self, error: &ApiError) -> Answer {
        answer::api_error(error, &self.cluster)
    }
}

/// Error 300, as clients of keys see that there was no outcome.
pub(crate) fn unavailable(error: Unavailable) -> ApiError {
    ApiError::in_request(ErrorCode::RaftInternal, error.to_string())
}
