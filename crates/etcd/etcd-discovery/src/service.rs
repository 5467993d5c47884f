//! What every request is answered from: tokens, settings, counts.

use std::sync::{Arc, Mutex};

use etcd_http::tls::ServerTls;

use crate::metrics::Metrics;
use crate::rate::Rates;
use crate::tokens::{TokenError, Tokens};
use crate::upstream::Upstream;

/// Where tokens are.
#[derive(Clone)]
pub enum Store {
    Own(Arc<Mutex<Tokens>>),
    Etcd(Upstream),
}

impl Store {
    pub fn own(tokens: Tokens) -> Self {
        Self::Own(Arc::new(Mutex::new(tokens)))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What token URLs begin with; without it, the scheme that is served and the request's `Host`.
    pub public_url: Option<String>,
    /// Serve https alone.
    pub tls: Option<Arc<ServerTls>>,
}

/// What every request sees.
pub struct Service {
    pub store: Store,
    pub settings: Settings,
    pub rates: Mutex<Rates>,
    pub metrics: Metrics,
}

/// The journal's flush blocks, so it runs beside the loop.
pub async fn with_tokens<R: Send + 'static>(
    tokens: &Arc<Mutex<Tokens>>,
    work: impl FnOnce(&mut Tokens) -> Result<R, TokenError> + Send + 'static,
) -> Result<R, TokenError> {
    let tokens = tokens.clone();
    let done = tokio::task::spawn_blocking(move || {
        // A panic inside would leave store and journal apart: nothing is served from them any more.
        let mut tokens = tokens.lock().map_err(|_| TokenError::Broken)?;
        work(&mut tokens)
    });
    done.await.unwrap_or(Err(TokenError::Broken))
}
