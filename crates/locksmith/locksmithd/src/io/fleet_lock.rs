//! A client of the FleetLock protocol.

use bytes::Bytes;
use etcd_client::{Connector, TlsError, TlsFiles};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::CONTENT_TYPE;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use locksmith_core::{FleetLock, FleetLockRefusal, FleetLockRequest};
use thiserror::Error;

use crate::limits::{HTTP_REQUEST, MAX_FLEET_LOCK_BYTES};

#[derive(Clone)]
pub struct FleetLockClient {
    server: FleetLock,
    pool: Client<Connector, Full<Bytes>>,
}

#[derive(Debug, Error)]
pub enum FleetLockError {
    #[error("{0}")]
    Refused(String),
    #[error("asking {url}: {cause}")]
    Unreachable { url: String, cause: String },
}

impl FleetLockClient {
    /// Does not connect yet.
    pub fn new(server: FleetLock, tls: &TlsFiles) -> Result<Self, TlsError> {
        let connector = Connector::new(tls, server.url.starts_with("https://"), HTTP_REQUEST)?;
        Ok(Self { server, pool: Client::builder(TokioExecutor::new()).build(connector) })
    }

    /// Both requests are idempotent.
    pub async fn send(&self, kind: FleetLockRequest, id: &str) -> Result<(), FleetLockError> {
        let url = self.server.request_url(kind);
        let failed = |cause: String| FleetLockError::Unreachable { url: url.clone(), cause };
        let (header, value) = FleetLock::header();
        let request = Request::post(&url)
            .header(CONTENT_TYPE, "application/json")
            .header(header, value)
            .body(Full::new(Bytes::from(self.server.body(id))))
            .map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let response =
                self.pool.request(request).await.map_err(|error| failed(service::error::chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_FLEET_LOCK_BYTES).collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            if status.is_success() {
                return Ok(());
            }
            Err(FleetLockError::Refused(FleetLockRefusal::message(status.as_u16(), &body)))
        };
        let limited = tokio::time::timeout(HTTP_REQUEST, exchange).await;
        limited.unwrap_or_else(|_| Err(failed(format!("no response within {HTTP_REQUEST:?}"))))
    }
}
