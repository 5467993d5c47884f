//! State shared by all requests.

use std::sync::{Arc, Mutex};

use etcd_http::tls::ServerTls;

use crate::metrics::Metrics;
use crate::rate::RateLimiter;
use crate::tokens::{TokenError, Tokens};
use crate::upstream::Upstream;

/// Where tokens are stored.
#[derive(Clone)]
pub enum Store {
    /// In this process, with or without a journal.
    Local(Arc<Mutex<Tokens>>),
    /// In an etcd cluster.
    Etcd(Upstream),
}

impl Store {
    /// Stores them in this process.
    pub fn local(tokens: Tokens) -> Self {
        Self::Local(Arc::new(Mutex::new(tokens)))
    }
}

/// How tokens are served.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Base URL of tokens; by default, the served scheme and the request's `Host`.
    pub public_url: Option<String>,
    /// Serve only https.
    pub tls: Option<Arc<ServerTls>>,
}

/// State shared by all requests.
pub struct Service {
    pub store: Store,
    pub settings: Settings,
    pub rate_limiter: Mutex<RateLimiter>,
    pub metrics: Metrics,
}

/// Runs `work` on a blocking thread, since the journal's flush blocks.
pub async fn with_tokens<R: Send + 'static>(
    tokens: &Arc<Mutex<Tokens>>,
    work: impl FnOnce(&mut Tokens) -> Result<R, TokenError> + Send + 'static,
) -> Result<R, TokenError> {
    let tokens = tokens.clone();
    let done = tokio::task::spawn_blocking(move || {
        // After a panic, store and journal may differ: nothing is served from them any more.
        let mut tokens = tokens.lock().map_err(|_| TokenError::Broken)?;
        work(&mut tokens)
    });
    done.await.unwrap_or(Err(TokenError::Broken))
}
