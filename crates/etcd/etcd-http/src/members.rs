//! `/v2/members`: the member list and changes of it.

use bytes::Bytes;
use etcd_api::{Member, parse_id, to_text};
use etcd_store::MembershipError;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use serde::Deserialize;

use crate::backend::{Backend, MemberChangeError};
use crate::body;
use crate::context::Context;
use crate::response::{self, HttpResponse, JSON};

pub(crate) const PREFIX: &str = "/v2/members";

#[derive(Deserialize)]
struct PeerUrls {
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
}

/// A member as JSON, with a newline.
fn to_json_line(member: &Member) -> Bytes {
    let mut out = Vec::with_capacity(256);
    member.write_json(&mut out);
    out.push(b'\n');
    out.into()
}

/// Serves requests at and below [`PREFIX`].
pub(crate) async fn serve<B: Backend>(
    context: &Context<B>,
    path: &[u8],
    request: Request<Incoming>,
) -> HttpResponse {
    let rest = to_text(path.get(PREFIX.len()..).unwrap_or_default());
    let rest = rest.trim_start_matches('/');
    let method = request.method().clone();
    let result = match method {
        Method::GET => Ok(get(context, rest)),
        Method::POST => add(context, request).await,
        Method::PUT if !rest.is_empty() => update(context, request, rest).await,
        Method::DELETE if !rest.is_empty() => remove(context, request, rest).await,
        Method::PUT | Method::DELETE => {
            Err(response::plain_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n"))
        }
        _ => Err(response::wrong_method("GET,POST,DELETE,PUT")),
    };
    context.in_cluster(result.unwrap_or_else(|change_error| change_error))
}

fn get<B: Backend>(context: &Context<B>, rest: &str) -> HttpResponse {
    match rest {
        "" => context
            .backend
            .read(|store| response::json(Bytes::from(Member::list_json(store.membership().members())))),
        "leader" => {
            let leader = context.backend.status().leader;
            let found = context
                .backend
                .read(|store| leader.and_then(|id| store.membership().get(id)).map(to_json_line));
            let none = || response::message(StatusCode::SERVICE_UNAVAILABLE, "During election");
            found.map_or_else(none, response::json)
        }
        _ => response::message(StatusCode::NOT_FOUND, "Not found"),
    }
}

async fn add<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
) -> Result<HttpResponse, HttpResponse> {
    context.check_root(request.headers()).await?;
    let peer_urls = read_peer_urls(request).await?;
    let member = context.backend.add_member(peer_urls).await.map_err(|error| change_error(&error))?;
    Ok(response::with(StatusCode::CREATED, JSON, to_json_line(&member)))
}

async fn update<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    rest: &str,
) -> Result<HttpResponse, HttpResponse> {
    context.check_root(request.headers()).await?;
    let id = id(rest)?;
    let peer_urls = read_peer_urls(request).await?;
    context.backend.update_member(id, peer_urls).await.map_err(|error| change_error(&error))?;
    Ok(response::no_content(StatusCode::NO_CONTENT))
}

async fn remove<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    rest: &str,
) -> Result<HttpResponse, HttpResponse> {
    context.check_root(request.headers()).await?;
    context.backend.remove_member(id(rest)?).await.map_err(|error| change_error(&error))?;
    Ok(response::no_content(StatusCode::NO_CONTENT))
}

fn id(rest: &str) -> Result<u64, HttpResponse> {
    parse_id(rest).ok_or_else(|| response::message(StatusCode::NOT_FOUND, &format!("No such member: {rest}")))
}

fn change_error(error: &MemberChangeError) -> HttpResponse {
    let status = match error {
        MemberChangeError::Refused(MembershipError::NotFound { .. }) => StatusCode::NOT_FOUND,
        MemberChangeError::Refused(MembershipError::Removed { .. }) => StatusCode::GONE,
        MemberChangeError::Refused(_) => StatusCode::CONFLICT,
        MemberChangeError::Unsafe | MemberChangeError::Unavailable(_) => {
            tracing::warn!(%error, "the membership is unchanged");
            return response::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
        }
    };
    response::message(status, &error.to_string())
}

/// The peer URLs of a POST or PUT.
async fn read_peer_urls(request: Request<Incoming>) -> Result<Vec<String>, HttpResponse> {
    let bad = |text: &str| response::message(StatusCode::BAD_REQUEST, text);
    let kind = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if kind != b"application/json" {
        let text = format!("Bad Content-Type {}, accept application/json", String::from_utf8_lossy(kind));
        return Err(response::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, &text));
    }
    let bytes = body::read(request.into_body()).await.map_err(|error| bad(&error.to_string()))?;
    let read_peer_urls: PeerUrls =
        serde_json::from_slice(&bytes).map_err(|error| bad(&json_error(&bytes, &error)))?;
    if read_peer_urls.peer_urls.is_empty() {
        return Err(bad("no valid URLs given"));
    }
    let mut peer_urls = Vec::with_capacity(read_peer_urls.peer_urls.len());
    for url in read_peer_urls.peer_urls {
        peer_urls.push(peer_url(&url).map_err(|text| bad(&text))?);
    }
    peer_urls.sort();
    Ok(peer_urls)
}

fn json_error(bytes: &Bytes, error: &serde_json::Error) -> String {
    if error.is_eof() || bytes.trim_ascii().is_empty() {
        "unexpected end of JSON input".to_owned()
    } else {
        error.to_string()
    }
}

/// Validates a peer URL as etcd does, with its error texts.
fn peer_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let url: Uri = text.parse().map_err(|error| format!("parse {text}: {error}"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(format!("URL scheme must be http or https: {text}"));
    }
    if url.host().is_none_or(str::is_empty) || url.port_u16().is_none() {
        return Err(format!("URL address does not have the form \"host:port\": {text}"));
    }
    if !matches!(url.path(), "" | "/") || text.ends_with('/') || url.query().is_some() {
        return Err(format!("URL must not contain a path: {text}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls() {
        let check = |text: &str, expect: Result<&str, &str>| {
            let found = peer_url(text);
            assert_eq!(found.as_deref().map_err(String::as_str), expect);
        };
        check("http://10.0.0.10:2380", Ok("http://10.0.0.10:2380"));
        check(" https://[::1]:2380 ", Ok("https://[::1]:2380"));
        check("ftp://a:1", Err("URL scheme must be http or https: ftp://a:1"));
        check("http://a", Err("URL address does not have the form \"host:port\": http://a"));
        check("http://a:1/b", Err("URL must not contain a path: http://a:1/b"));
    }
}
