//! Fetches one URL, again and again while that may help (contract 5.1).
//!
//! Bodies are capped. What began encrypted stays so: a redirect from https to http is an error.

use std::sync::Arc;
use std::time::Duration;

use cloudinit::limits::MAX_RAW_BYTES;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use super::error::DatasourceError;
use super::patience::Patience;
use super::url::Url;
use crate::log::Log;

const MAX_ATTEMPTS: u32 = 15;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: u32 = 10;
/// Answers that are no success, and yet may become one: request timeout and too many requests.
const TRANSIENT_STATUS: [u16; 2] = [408, 429];
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";
const CERTIFICATES_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why one attempt failed, and whether another one may do better.
enum Failure {
    Transient(String),
    Final(DatasourceError),
}

/// # Errors
/// The URL can not be used, is not there, or every attempt failed.
pub(super) fn fetch(url: &Url, patience: Patience, log: &Log) -> Result<Vec<u8>, DatasourceError> {
    let attempts = match patience {
        Patience::Wait => MAX_ATTEMPTS,
        Patience::AskOnce => 1,
    };
    fetch_with(url, attempts, log, &mut |wait| std::thread::sleep(wait))
}

fn fetch_with(
    url: &Url,
    attempts: u32,
    log: &Log,
    sleep: &mut dyn FnMut(Duration),
) -> Result<Vec<u8>, DatasourceError> {
    url.check()?;
    let agent = agent(url, log)?;
    let mut wait = FIRST_WAIT;
    for number in 1..=attempts {
        log.info(format!("Fetching data from {}. Attempt #{number}", url.shown()));
        match attempt(&agent, url) {
            Ok(body) => return Ok(body),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Transient(reason)) => log.warning(format!("Unable to fetch data: {reason}")),
        }
        if number < attempts {
            log.info(format!("Sleeping for {wait:?}..."));
            sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
    Err(DatasourceError::Retries(attempts))
}

fn attempt(agent: &Agent, url: &Url) -> Result<Vec<u8>, Failure> {
    let mut response = agent.get(url.secret()).call().map_err(|error| failure(url, error))?;
    let status = response.status().as_u16();
    match status {
        200..=299 => {}
        400..=499 if !TRANSIENT_STATUS.contains(&status) => {
            return Err(Failure::Final(DatasourceError::NotFound { url: url.shown(), status }));
        }
        status => return Err(Failure::Transient(format!("HTTP status {status}"))),
    }
    let body = response.body_mut().with_config().limit(MAX_RAW_BYTES as u64).read_to_vec();
    body.map_err(|error| failure(url, error))
}

/// Never passes on a message that may hold the URL, as the URL may hold a password.
fn failure(url: &Url, error: ureq::Error) -> Failure {
    use ureq::Error;
    let unusable =
        |reason: &str| Failure::Final(DatasourceError::Url { url: url.shown(), reason: reason.to_owned() });
    match error {
        Error::BadUri(_) | Error::Http(_) => unusable("it is malformed"),
        Error::RequireHttpsOnly(_) => unusable("it leads from https to http"),
        Error::TooManyRedirects => unusable("it is redirected too often"),
        Error::BodyExceedsLimit(_) => {
            Failure::Final(DatasourceError::TooLarge { path: url.shown().into(), limit: MAX_RAW_BYTES })
        }
        error => Failure::Transient(error.to_string()),
    }
}

fn agent(url: &Url, log: &Log) -> Result<Agent, DatasourceError> {
    let builder = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_LIMIT))
        .max_redirects(MAX_REDIRECTS)
        .https_only(url.is_encrypted())
        .user_agent(concat!("coreos-cloudinit/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy(url, log))
        .tls_config(encryption(url)?);
    Ok(builder.build().new_agent())
}

/// The authorities that the machine trusts. Read even for http, which may lead to https.
fn encryption(url: &Url) -> Result<TlsConfig, DatasourceError> {
    let path = std::env::var(CERTIFICATES_VARIABLE).unwrap_or_else(|_| CERTIFICATES_PATH.to_owned());
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(_) if !url.is_encrypted() => Vec::new(),
        Err(source) => return Err(DatasourceError::Read { path: path.into(), source }),
    };
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// What the environment says, by the URL's scheme.
fn proxy(url: &Url, log: &Log) -> Option<Proxy> {
    let first = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok());
    let names =
        if url.is_encrypted() { ["https_proxy", "HTTPS_PROXY"] } else { ["http_proxy", "HTTP_PROXY"] };
    let address = first(names).filter(|address| !address.is_empty())?;
    if is_direct(url.host(), &first(["no_proxy", "NO_PROXY"]).unwrap_or_default()) {
        return None;
    }
    let proxy = Proxy::new(&address);
    if proxy.is_err() {
        log.warning(format!("Warning: ignoring {}, which is no proxy's URL", names[0]));
    }
    proxy.ok()
}

/// Whether `host` is asked without a proxy: this machine itself, and what `exceptions` name.
fn is_direct(host: &str, exceptions: &str) -> bool {
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host == "localhost"
        || is_loopback
        || exceptions.split(',').map(str::trim).filter(|name| !name.is_empty()).any(|name| {
            let name = name.trim_start_matches('*').trim_start_matches('.');
            name.is_empty()
                || host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_attempts_end() {
        // Nobody listens: the port was given to this test and is closed again.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = Url::new(&format!("http://127.0.0.1:{port}/"));
        let mut waits = Vec::new();
        let error = fetch_with(&url, MAX_ATTEMPTS, &Log::from_environment(), &mut |wait| {
            waits.push(wait.as_millis());
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "Unable to fetch data. Maximum retries reached: 15");
        assert_eq!(waits[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
        assert_eq!((waits.len(), waits[7..].iter().max()), (14, Some(&5000)));
    }

    #[test]
    fn exceptions_from_the_proxy() {
        for (host, exceptions, expect) in [
            ("localhost", "", true),
            ("127.0.0.1", "", true),
            ("::1", "", true),
            ("a.example", "", false),
            ("a.example", "b.example, example", true),
            ("a.example", ".example", true),
            ("aexample", "example", false),
            ("10.0.0.1", "*", true),
        ] {
            assert_eq!(is_direct(host, exceptions), expect, "{host} {exceptions}");
        }
    }
}
