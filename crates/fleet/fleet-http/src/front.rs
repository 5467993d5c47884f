//! What all requests share.

use std::sync::Arc;

use fleet_api::ErrorDocument;
use fleet_core::registry::View;
use fleet_core::schedule::Scheduler;
use hyper::header::HeaderValue;
use tokio::sync::Semaphore;

use crate::backend::Backend;
use crate::body::Room;
use crate::limits;
use crate::settings::{Programs, Settings};

pub struct Front<B> {
    pub backend: Arc<B>,
    /// Items on a page.
    pub token_limit: u16,
    pub programs: Programs,
    /// What each answer says of who gave it.
    pub server: HeaderValue,
    pub room: Room,
    /// For programs that run at one time.
    pub places: Arc<Semaphore>,
}

impl<B: Backend> Front<B> {
    pub fn new(backend: Arc<B>, settings: Settings) -> Self {
        let server = HeaderValue::from_str(&format!("fleetd/{}", settings.version));
        Self {
            backend,
            token_limit: settings.token_limit.max(1),
            programs: settings.programs,
            // A version that is no header is none to tell.
            server: server.unwrap_or(HeaderValue::from_static("fleetd")),
            room: Room::new(),
            places: Arc::new(Semaphore::new(limits::PROGRAMS)),
        }
    }

    /// What the store says, or the answer of every path while it is away.
    pub fn look<R>(&self, look: impl FnOnce(&View, &Scheduler) -> R) -> Result<R, ErrorDocument> {
        self.backend.look(look).ok_or_else(ErrorDocument::no_store)
    }
}
