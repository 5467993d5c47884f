//! State that all requests share.

use std::sync::Arc;

use fleet_api::ErrorDocument;
use fleet_core::registry::View;
use fleet_core::schedule::Scheduler;
use hyper::header::HeaderValue;
use tokio::sync::Semaphore;

use crate::backend::Backend;
use crate::body::BodyBudget;
use crate::limits;
use crate::settings::{Programs, Settings};

pub struct ApiContext<B> {
    pub backend: Arc<B>,
    /// Items per page.
    pub token_limit: u16,
    pub programs: Programs,
    /// The `Server` header.
    pub server: HeaderValue,
    pub body_budget: BodyBudget,
    /// Permits for concurrent programs.
    pub permits: Arc<Semaphore>,
}

impl<B: Backend> ApiContext<B> {
    pub fn new(backend: Arc<B>, settings: Settings) -> Self {
        let server = HeaderValue::from_str(&format!("fleetd/{}", settings.version));
        Self {
            backend,
            token_limit: settings.token_limit.max(1),
            programs: settings.programs,
            // The version may not be a valid header value.
            server: server.unwrap_or(HeaderValue::from_static("fleetd")),
            body_budget: BodyBudget::new(),
            permits: Arc::new(Semaphore::new(limits::MAX_PROGRAMS)),
        }
    }

    /// Reads the current state. Fails with 503 while the store is unavailable.
    pub fn with_view<R>(&self, read: impl FnOnce(&View, &Scheduler) -> R) -> Result<R, ErrorDocument> {
        self.backend.with_view(read).ok_or_else(ErrorDocument::no_store)
    }
}
