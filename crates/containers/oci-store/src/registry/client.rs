//! Requests to one registry: redirects, authentication, bounded responses.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci_image::Reference;
use oci_image::challenge;
use serde::Deserialize;
use ureq::http::Response;
use ureq::http::header::{LOCATION, WWW_AUTHENTICATE};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::pace::Pace;
use super::url::Url;
use super::{RegistryError, RegistryOptions};

const MAX_REDIRECTS: u32 = 5;
/// Limit of a request with a small response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of an error's body, and characters of its message, that are shown.
const MAX_ERROR_BODY: u64 = 16 << 10;
const MAX_ERROR_TEXT: usize = 300;
const MAX_CHALLENGES: usize = 8;

/// Name and value.
pub type Header<'a> = (&'a str, &'a str);

/// A connection to the registry of one image.
pub struct Client {
    agent: Agent,
    pub(super) options: RegistryOptions,
    pub(super) reference: Reference,
    /// `https://HOST/v2/`.
    pub(super) base: Url,
    authorization: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    code: Option<String>,
    message: Option<String>,
}

impl Client {
    /// Finds out how the registry is reached. Plain HTTP is tried only if it is permitted and HTTPS fails.
    pub fn connect(reference: &Reference, options: &RegistryOptions) -> Result<Self, RegistryError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("keelson/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_recv_response(Some(options.progress_window))
            .timeout_per_read(Some(options.progress_window))
            .tls_config(tls_config(options)?);
        let base = Url { secure: true, authority: reference.api_host().to_owned(), path: "/v2/".to_owned() };
        let mut client = Self {
            agent: config.build().new_agent(),
            options: options.clone(),
            reference: reference.clone(),
            base,
            authorization: Mutex::new(None),
        };
        match client.ping() {
            Err(RegistryError::Transport { .. }) if options.http => {
                client.base.secure = false;
                client.ping()?;
            }
            pinged => pinged?,
        }
        Ok(client)
    }

    fn ping(&self) -> Result<(), RegistryError> {
        let (url, response) = self.follow(&self.base, &[], None)?;
        match response.status().as_u16() {
            200 | 401 => Ok(()),
            404 => Err(RegistryError::NoRegistry(self.base.authority.clone())),
            _ => Err(status_error(&url, response)),
        }
    }

    /// Requests a path of the repository: `manifests/latest`. Authenticates once if the registry requires it. Returns
    /// the URL that responded, after redirects.
    pub fn get(&self, path: &str, headers: &[Header<'_>]) -> Result<(Url, Response<Body>), RegistryError> {
        let url = self.base.with_path(&format!("/v2/{}/{path}", self.reference.repository()));
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (responded, response) = self.follow(&url, headers, authorization)?;
        // Another server's challenge is not for the registry's credentials.
        if response.status().as_u16() != 401 || !responded.is_same_origin(&self.base) {
            return Ok((responded, response));
        }
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().take(MAX_CHALLENGES);
        let challenges: Vec<_> =
            challenges.filter_map(|value| challenge::parse(value.to_str().ok()?)).collect();
        let authorization = self.authorize(&url, &challenges)?;
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization.clone());
        let (responded, response) = self.follow(&url, headers, Some(authorization))?;
        match response.status().as_u16() {
            401 | 403 if responded.is_same_origin(&self.base) => {
                Err(RegistryError::Unauthorized { url: url.redacted() })
            }
            _ => Ok((responded, response)),
        }
    }

    /// Follows redirects. `authorization` is for the origin of `url` only.
    pub(super) fn follow(
        &self,
        url: &Url,
        headers: &[Header<'_>],
        authorization: Option<String>,
    ) -> Result<(Url, Response<Body>), RegistryError> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(at.text());
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if let Some(authorization) = authorization.as_ref().filter(|_| at.is_same_origin(url)) {
                request = request.header("authorization", authorization);
            }
            let response = request.call().map_err(|error| transport(&at, &error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((at, response));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let refused = |target: &str, reason| RegistryError::Redirect {
                url: at.redacted(),
                target: update_worker::redact_url(target),
                reason,
            };
            let location = location.unwrap_or_default();
            let target = at.redirected(location).ok_or_else(|| refused(location, "no valid URL"))?;
            if !target.secure && !self.options.http {
                return Err(refused(location, "plain HTTP was not permitted"));
            }
            at = target;
        }
        Err(RegistryError::Redirects { url: url.redacted(), limit: MAX_REDIRECTS })
    }

    /// Reads a small response, which must have status 200.
    pub fn read_body(
        &self,
        url: &Url,
        response: Response<Body>,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        if response.status().as_u16() != 200 {
            return Err(status_error(url, response));
        }
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 14]);
        let mut body = response.into_body().into_reader();
        let start = Instant::now();
        // A small response needs no rate, only an end.
        let mut pace = Pace::new(REQUEST_TIMEOUT.min(self.options.progress_window * 2), u64::MAX, start);
        loop {
            let read = body.read(&mut buffer).map_err(|error| transport(url, &error))?;
            if read == 0 {
                return Ok(bytes);
            }
            bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if bytes.len() as u64 > limit {
                return Err(RegistryError::TooLong { url: url.redacted(), limit });
            }
            if !pace.advance(read, Instant::now()) {
                let reason = "the response did not end in time".to_owned();
                return Err(RegistryError::Transport { url: url.redacted(), reason });
            }
        }
    }
}

/// An error with the messages that registries send.
pub fn status_error(url: &Url, response: Response<Body>) -> RegistryError {
    let status = response.status().as_u16();
    let mut text = Vec::new();
    // A body that cannot be read has no message.
    drop(response.into_body().into_reader().take(MAX_ERROR_BODY).read_to_end(&mut text));
    let body: Option<ErrorBody> = serde_json::from_slice(&text).ok();
    let messages = body.map(|body| body.errors).unwrap_or_default().into_iter().map(|item| {
        let parts = [item.code, item.message];
        parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
    });
    let detail: String = messages.collect::<Vec<_>>().join("; ");
    let detail: String = detail.chars().filter(|char| !char.is_control()).take(MAX_ERROR_TEXT).collect();
    let detail = if detail.is_empty() { detail } else { format!(" ({detail})") };
    RegistryError::Status { url: url.redacted(), status, detail }
}

pub fn transport(url: &Url, error: &dyn std::error::Error) -> RegistryError {
    RegistryError::Transport { url: url.redacted(), reason: service::error::chain(error) }
}

fn tls_config(options: &RegistryOptions) -> Result<TlsConfig, RegistryError> {
    let mut certificates = update_worker::system_certificates();
    for path in &options.ca_files {
        certificates.extend(read_certificates(path)?);
    }
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates)))
        .disable_verification(options.unverified_tls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// A file that the user named must have a certificate.
fn read_certificates(path: &Path) -> Result<Vec<Certificate<'static>>, RegistryError> {
    let pem = std::fs::read(path)
        .map_err(|source| RegistryError::Certificates { path: path.to_owned(), source })?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(RegistryError::NoCertificates(path.to_owned()));
    }
    Ok(certificates)
}
