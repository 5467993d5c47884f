//! Queries peers for the member list.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use etcd_api::Member;
use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::time::timeout;

use super::upstream::{Dial, Upstream, UpstreamError, payload};
use crate::limits;

/// Why a peer returned no list.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("{url} answered {status}")]
    Status { url: String, status: StatusCode },
    #[error("the list of {url} has more than {} bytes", limits::MAX_MEMBER_LIST_BYTES)]
    TooLarge { url: String },
    #[error("the list of {url} broke off")]
    Broken { url: String, source: hyper::Error },
    #[error("the list of {url} took too long")]
    TooSlow { url: String },
    #[error("the list of {url} cannot be read")]
    Format { url: String, source: serde_json::Error },
}

/// GET `/members` from a peer.
pub(super) async fn fetch_members(peer_url: &str, dial: &Dial) -> Result<Vec<Member>, ListError> {
    let url = || peer_url.to_owned();
    let upstream = Upstream::new(url());
    let host = peer_url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(|one| one.to_string()));
    let host = host.and_then(|host| HeaderValue::from_str(&host).ok());
    let request = || {
        let mut request = Request::new(payload(&Bytes::new()));
        *request.uri_mut() = Uri::from_static("/members");
        if let Some(host) = &host {
            request.headers_mut().insert(HOST, host.clone());
        }
        request
    };
    let response = async {
        let response = upstream.send(dial, request).await?;
        if response.status() != StatusCode::OK {
            return Err(ListError::Status { url: url(), status: response.status() });
        }
        read_body(response.into_body(), peer_url).await
    };
    let limit = dial.dial_timeout + limits::HANDSHAKE_TIMEOUT;
    let text = timeout(limit, response).await.map_err(|_| ListError::TooSlow { url: url() })??;
    serde_json::from_slice(&text).map_err(|source| ListError::Format { url: url(), source })
}

async fn read_body(mut body: Incoming, url: &str) -> Result<Vec<u8>, ListError> {
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|source| ListError::Broken { url: url.to_owned(), source })?;
        if let Ok(data) = frame.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > limits::MAX_MEMBER_LIST_BYTES {
            return Err(ListError::TooLarge { url: url.to_owned() });
        }
    }
    Ok(text)
}
